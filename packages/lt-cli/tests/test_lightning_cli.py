import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lt_cli import LightningCLI, SaveConfigCallback, instantiate_class
from lt_cli.class_reference import load_class

parts = sys.modules[load_class(f"{Path(__file__).parent}/cli_parts.py:Net").__module__]
Data, Net, Stop, Trainer, Wide = parts.Data, parts.Net, parts.Stop, parts.Trainer, parts.Wide


class Linked(LightningCLI):
    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.link_arguments("data.batch_size", "model.batch_size")
        parser.add_argument("--tag", default="none")
        parser.add_lightning_class_args(Stop, "stop")
        parser.set_defaults({"stop.monitor": "loss"})

    def before_fit(self) -> None:
        self.trainer.calls.append("before")

    def after_fit(self) -> None:
        self.trainer.calls.append("after")


def cli(*args: Any, kind: type[LightningCLI] = LightningCLI, **options: Any) -> LightningCLI:
    given = {"model_class": Net, "datamodule_class": Data, "trainer_class": Trainer, "args": list(args), **options}
    return kind(**given)


def refused(capsys: pytest.CaptureFixture[str], *args: str, **options: Any) -> str:
    with pytest.raises(SystemExit) as left:
        cli(*args, **options)
    assert left.value.code == 2
    return capsys.readouterr().err


def test_a_command_builds_everything_and_runs():
    found = cli("fit", "--model.hidden", "3", "--trainer.max_epochs", "2", "--ckpt_path", "last")
    assert (found.model.hidden, found.trainer.flags["max_epochs"]) == (3, 2)
    assert found.trainer.calls == [("fit", found.model, found.datamodule, "last")]


def test_without_a_run_there_is_no_command():
    found = cli("--model.hidden", "3", run=False)
    assert (found.model.hidden, found.config.model.hidden, found.trainer.calls) == (3, 3, [])
    assert found.config_init.model is found.model


def test_links_hooks_and_callback_groups_of_a_subclass():
    found = cli("fit", "--data.batch_size", "5", "--stop.patience", "9", "--tag", "x", kind=Linked)
    assert found.model.batch_size == 5
    assert (found.config.subcommand, found.config.fit.tag) == ("fit", "x")
    assert [type(callback) for callback in found.trainer.callbacks] == [Stop, SaveConfigCallback]
    assert (found.trainer.callbacks[0].monitor, found.trainer.callbacks[0].patience) == ("loss", 9)
    assert [found.trainer.calls[0], found.trainer.calls[-1]] == ["before", "after"]


def test_a_link_from_a_default_and_one_from_what_was_built():
    class Built(LightningCLI):
        def add_arguments_to_parser(self, parser: Any) -> None:
            parser.link_arguments("data.classes", "model.hidden", apply_on="instantiate")
            parser.link_arguments("data.batch_size", "model.batch_size")

    found = cli("fit", kind=Built)
    assert (found.model.hidden, found.model.batch_size) == (10, 32)


def test_a_linked_argument_cannot_be_given(capsys):
    told = refused(capsys, "fit", "--model.batch_size", "3", kind=Linked)
    assert "`--model.batch_size` is set by `data.batch_size`. Give `--data.batch_size` instead." in told


def test_callbacks_take_arguments_and_the_defaults_own_stay():
    mine = Stop("mine")
    defaults = {"callbacks": [mine], "max_epochs": 4}
    args = ("--trainer.callbacks+=Stop", "--trainer.callbacks.monitor=a", "--callbacks+=Stop", "--callbacks.monitor=b")
    found = cli("fit", *args, trainer_defaults=defaults)
    assert [c.monitor for c in found.trainer.callbacks[:3]] == ["a", "b", "mine"]
    assert found.trainer.flags["max_epochs"] == 4


def test_objects_among_the_defaults_reach_the_trainer():
    logger = object()
    assert cli("fit", trainer_defaults={"logger": logger}).trainer.flags["logger"] is logger


def test_a_template_in_braces_is_text():
    found = cli("fit", "--callbacks+=Stop", "--callbacks.monitor={epoch}")
    assert found.trainer.callbacks[0].monitor == "{epoch}"


def test_an_unknown_default_is_told_the_nearest(capsys):
    assert "Did you mean `trainer.max_epochs`?" in refused(capsys, "fit", trainer_defaults={"max_epoch": 1})


def test_a_number_keeps_its_type_in_options_and_files(tmp_path):
    (tmp_path / "c.yaml").write_text("trainer: {limit: 1}\n")
    for args in (("--trainer.limit", "1"), ("--config", str(tmp_path / "c.yaml"))):
        assert type(cli("fit", *args).trainer.flags["limit"]) is int


def test_a_file_may_have_a_table_for_each_command(tmp_path):
    (tmp_path / "c.yaml").write_text("fit: {model: {hidden: 7}}\nexplore: {depth: 3}\n")
    assert cli("--config", tmp_path / "c.yaml", "fit").model.hidden == 7


def test_the_model_may_be_any_imported_subclass():
    found = cli("fit", "--model", "Wide", "--model.hidden", "3", subclass_mode_model=True)
    assert (type(found.model), found.model.hidden) == (Wide, 3)


def test_a_class_inside_a_function_cannot_be_named(capsys):
    class Hidden(Net):
        pass

    said = refused(capsys, "fit", "--model=Hidden", "--model.hidden=3", subclass_mode_model=True)
    assert "`Hidden` is not at the top of its module. Move it there to be named." in said
    assert Hidden.__subclasses__() == []


def test_a_function_that_makes_the_model_does_too():
    def make(size: int = 2) -> parts.Net:
        return Net(size)

    assert cli("fit", "--model.size", "6", model_class=make).model.hidden == 6


def test_more_commands_are_methods_of_the_trainer():
    class More(LightningCLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {**LightningCLI.subcommands(), "explore": {"model"}}

    found = cli("explore", "--depth", "4", kind=More, datamodule_class=None)
    assert found.trainer.calls == [("explore", found.model, 4)]


def test_args_may_be_tables():
    found = cli(args={"subcommand": "fit", "fit": {"model": {"hidden": 2}}})
    assert (found.model.hidden, len(found.trainer.calls)) == (2, 1)
    assert cli(args={"model": {"hidden": 4}}, run=False).model.hidden == 4


def test_the_environment_gives_settings_if_asked(monkeypatch):
    monkeypatch.setenv("PL_FIT__MODEL__HIDDEN", "5")
    assert cli("fit").model.hidden == 8
    assert cli("fit", parser_kwargs={"fit": {"default_env": True}}).model.hidden == 5


def test_the_seed_that_was_taken_is_the_one_kept():
    assert cli("fit").config.fit.seed_everything == 11
    assert cli("fit", "--seed_everything", "5").config.fit.seed_everything == 5
    Trainer.seeds.clear()
    assert cli("fit", seed_everything_default=False).config.fit.seed_everything is False
    assert Trainer.seeds == []


def test_an_optimizer_and_a_scheduler_replace_the_models_own():
    args = ("--optimizer", "SGD", "--optimizer.lr", "0.5", "--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "2")
    made = cli("fit", *args).model.configure_optimizers()
    assert (type(made["optimizer"]), made["optimizer"].param_groups[0]["lr"]) == (torch.optim.SGD, 0.5)
    assert made["lr_scheduler"].step_size == 2
    assert not hasattr(cli("fit").model, "configure_optimizers")


def test_a_plateau_scheduler_names_what_it_watches():
    args = ("--optimizer=Adam", "--lr_scheduler=ReduceLROnPlateau", "--lr_scheduler.monitor=loss")
    made = cli("fit", *args).model.configure_optimizers()
    assert made["lr_scheduler"]["monitor"] == "loss"


def test_a_subclass_decides_what_becomes_of_the_optimizer():
    class Own(LightningCLI):
        def add_arguments_to_parser(self, parser: Any) -> None:
            parser.add_optimizer_args(torch.optim.Adam)

        @staticmethod
        def configure_optimizers(lightning_module: Any, optimizer: Any, lr_scheduler: Any = None) -> Any:
            return [optimizer]

    [optimizer] = cli("fit", "--optimizer.lr", "0.25", kind=Own).model.configure_optimizers()
    assert (type(optimizer), optimizer.param_groups[0]["lr"]) == (torch.optim.Adam, 0.25)


def test_an_instance_is_made_of_its_description():
    made = instantiate_class((2, 3), {"class_path": "torch.nn.Linear", "init_args": {"bias": False}})
    assert made.weight.shape == (3, 2)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "The command is missing. Begin with `fit`, "),
        (("fitt",), "There is no command `fitt`. Did you mean `fit`?"),
        (("fit", "--model.hiden", "1"), "Did you mean `--model.hidden`?"),
        (("fit", "--callbacks+=Stop"), "`Stop` needs `--callbacks.monitor`."),
        (("fit", "--callbacks+=Stop", "--callbacks.monitr=x"), "no argument `monitr`. Did you mean `monitor`?"),
        (("fit", "--callbacks+=Stopp", "--callbacks.monitor=x"), "knows no class `Stopp`. Did you mean `Stop`?"),
        (("fit", "--callbacks+=Stop", "--callbacks.patience=x"), "`--callbacks.patience` takes int, got 'x'."),
        (("fit", "--callbacks.monitor=x"), "Name the class first, with `--callbacks CLASS`."),
        (("fit", "--optimizer", "Adm"), "`--optimizer` knows no class `Adm`. Did you mean `Adam`?"),
        (("fit", "--optimizer", "Adam", "--optimizer.lr", "x"), "`--optimizer.lr` does not take 'x'."),
        (("fit", "--lr_scheduler=StepLR", "--lr_scheduler.step_size=1"), "has no optimizer to schedule."),
        (("fit", "--logger=x", "--logger.y=1"), "`--logger` takes no class with arguments. Leave `--logger.y` out."),
        (("fit", "--model", "no.yaml"), "`--model` takes a config file, got 'no.yaml'. Give single arguments as"),
        (("fit", "--gpus", "2"), "`--gpus` is an old spelling. Write `--accelerator gpu --devices 2`."),
    ],
)  # fmt: skip
def test_wrong_usage_is_a_fact_and_a_remedy_and_status_2(capsys, args, said):
    message = refused(capsys, *args)
    assert said in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer:\n  max_epochs: many\n", "got 'many' (c.yaml:2)."),
        ("trainer:\n  callbacks:\n  - class_path: Stop\n    init_args:\n      monitr: x\n", "`monitr` (c.yaml:5). Did"),
        ("model:\n  hiden: 3\n", "`model.hiden` is no setting (c.yaml:2). Did you mean `model.hidden`?"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(capsys, tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(text)
    assert said in refused(capsys, "fit", "--config", "c.yaml")


def test_a_file_may_be_for_one_group(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text("hidden: 3\nbatch_size: 4\n")
    found = cli("fit", "--model", "net.yaml", "--model.batch_size", "9")
    assert (found.model.hidden, found.model.batch_size) == (3, 9)
    (tmp_path / "net.yaml").write_text("batch_size: 1\nhiden: 3\n")
    assert "`hiden` is no setting (net.yaml:2). Did you mean `hidden`?" in refused(capsys, "fit", "--model=net.yaml")
    (tmp_path / "net.yaml").write_text("batch_size: 1\nhidden: x\n")
    assert "`--model.hidden` takes int, got 'x' (net.yaml:2)" in refused(capsys, "fit", "--model", "net.yaml")


def test_secrets_are_masked_in_what_is_written_and_asked_for_again(tmp_path, capsys):
    class Keyed(Net):
        def __init__(self, api_key: str = "", hidden: int = 2) -> None:
            super().__init__(hidden)
            self.api_key = api_key

    given = cli("fit", "--model.api_key", "hush", model_class=Keyed)
    text = given.parser.dump(given.settings)
    assert (given.model.api_key, "hush" in text) == ("hush", False)
    (tmp_path / "c.yaml").write_text(text)
    args = ("fit", "--config", str(tmp_path / "c.yaml"))
    assert "`model.api_key` is masked" in refused(capsys, *args, model_class=Keyed)
    assert cli(*args, "--model.api_key=hush", model_class=Keyed).model.api_key == "hush"


def test_later_files_win_and_options_over_files(tmp_path):
    for name, text in (("a", "model: {hidden: 1, batch_size: 1}"), ("b", "model: {hidden: 2}\ndata: {batch_size: 2}")):
        (tmp_path / name).write_text(text)
    args = ("--config", tmp_path / "a", "--config", tmp_path / "b", "--data.batch_size", "7")
    found = cli("fit", *args)
    assert (found.model.hidden, found.model.batch_size, found.datamodule.batch_size) == (2, 1, 7)


def test_classes_within_classes_come_from_files_and_options(tmp_path):
    (tmp_path / "c").write_text(
        f"model: {{act: {{class_path: {Net.__module__}.Wide, init_args: {{act: torch.nn.ReLU}}}}}}"
    )
    found = cli("fit", "--config", tmp_path / "c", "--model.act.act", "torch.nn.Softplus", "--model.act.act.beta", "3")
    assert (type(found.model.act), type(found.model.act.act).__name__, found.model.act.act.beta) == (
        Wide,
        "Softplus",
        3,
    )


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ([("model.hidden", "model.hidden")], "`model.hidden` -> `model.hidden` go in a circle"),
        (
            [("data.batch_size", "model.batch_size"), ("model.batch_size", "data.batch_size")],
            "`data.batch_size` -> `model.batch_size` -> `data.batch_size` go in a circle",
        ),
        ([("data.batch_size", "model.batchsize")], "no setting `model.batchsize`. Did you mean `model.batch_size`?"),
        (
            [("data.batch_size", "model.batch_size"), ("model.batch_size", "model.hidden")],
            "is itself linked to `data.batch_size`. Link `model.hidden` to `data.batch_size` too.",
        ),
        ([("model.hidden", "model.batch_size"), ("data.batch_size", "model.batch_size")], "it has a link already."),
    ],
)
def test_links_that_cannot_be_are_refused(capsys, links, said):
    class Bad(LightningCLI):
        def add_arguments_to_parser(self, parser: Any) -> None:
            for source, target in links:
                parser.link_arguments(source, target)

    assert said in refused(capsys, "fit", kind=Bad)


def test_groups_that_wait_for_each_other_are_refused(capsys):
    class Bad(LightningCLI):
        def add_arguments_to_parser(self, parser: Any) -> None:
            parser.link_arguments("data.classes", "model.hidden", apply_on="instantiate")
            parser.link_arguments("model.hidden", "data.batch_size", apply_on="instantiate")

    assert "each of the two groups would have to be built before the other" in refused(capsys, "fit", kind=Bad)


@pytest.mark.parametrize("mode", ["omegaconf", "omegaconf+"])
def test_omegaconf_fills_in_what_a_file_refers_to(tmp_path, capsys, mode):
    options = {"parser_kwargs": {"parser_mode": mode}}
    (tmp_path / "c.yaml").write_text("data: {batch_size: 6}\nmodel: {hidden: '${data.batch_size}'}\n")
    assert cli("fit", "--config", tmp_path / "c.yaml", **options).model.hidden == 6
    (tmp_path / "c.yaml").write_text("model: {hidden: '${data.batch}'}\n")
    assert "`${data.batch}` in a config file names no setting." in refused(
        capsys, "fit", "--config", str(tmp_path / "c.yaml"), **options
    )


def test_without_omegaconf_a_dollar_is_a_dollar(tmp_path, capsys, monkeypatch):
    (tmp_path / "c.yaml").write_text("ckpt_path: '${data.batch_size}'\n")
    assert cli("fit", "--config", tmp_path / "c.yaml").trainer.calls[0][3] == "${data.batch_size}"
    monkeypatch.setattr("lt_cli.lightning_cli.find_spec", lambda name: None)
    said = refused(capsys, "fit", parser_kwargs={"parser_mode": "omegaconf"})
    assert 'Run `pip install "lt-cli[omegaconf]"`.' in said


def test_a_file_cannot_import_what_the_script_does_not(capsys, tmp_path, monkeypatch):
    (tmp_path / "evil_callbacks.py").write_text("from lt_interfaces import Callback\nclass Evil(Callback): pass\n")
    (tmp_path / "c.yaml").write_text("trainer: {callbacks: [{class_path: evil_callbacks.Evil}]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    message = refused(capsys, "fit", "--config", str(tmp_path / "c.yaml"))
    assert "add `--import evil_callbacks`, or in a script of your own `import evil_callbacks`." in message
    assert "evil_callbacks" not in sys.modules
