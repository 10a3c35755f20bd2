"""Profilers: what they measure, what they write, and that they change nothing and cost nothing when absent."""

import json
import marshal
import sys

import pytest
import torch
from lt_interfaces import Callback, ModuleHooks
from lt_loops import Trainer
from lt_loops.clock import Clock
from lt_loops.profilers import AdvancedProfiler, PassThroughProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from torch import nn

BATCHES = [torch.randn(4, 3, generator=torch.Generator().manual_seed(i)) for i in range(8)]
KINDS = (SimpleProfiler, AdvancedProfiler, PyTorchProfiler)
each_kind = pytest.mark.parametrize("kind", KINDS)


class Net(ModuleHooks, nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.dropout = nn.Linear(3, 2), nn.Dropout(0.3)

    def training_step(self, batch, batch_idx):
        with self.trainer.profiler.profile("my_action"):
            return self.dropout(self.layer(batch)).square().mean()

    def validation_step(self, batch, batch_idx):
        return self.layer(batch).square().mean()

    def predict_step(self, batch, batch_idx):
        return self.layer(batch)

    def on_train_epoch_end(self):
        self.ended = True

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}

    trainer = None


class Watcher(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen = batch_idx


class Bar(Callback):
    def __init__(self):
        self.said = []

    def print(self, *lines):
        self.said += lines


def fit(profiler, **kwargs):
    torch.manual_seed(0)
    trainer = Trainer(max_epochs=2, profiler=profiler, num_sanity_val_steps=1, gradient_clip_val=1.0, **kwargs)
    net = Net()
    trainer.fit(net, BATCHES, BATCHES[:3])
    return trainer, net


def weights(net):
    return [p.tolist() for p in net.parameters()]


@each_kind
def test_a_profiler_changes_no_weight(kind):
    assert weights(fit(kind(filename="perf"))[1]) == weights(fit(None)[1])


def test_accumulated_and_manual_steps_are_the_same_under_a_profiler():
    class Manual(Net):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.trainer.lightning_optimizers[0]
            optimizer.zero_grad()
            self.trainer.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    def run(profiler, kind, **kwargs):
        torch.manual_seed(0)
        net = kind()
        Trainer(max_epochs=1, profiler=profiler, **kwargs).fit(net, BATCHES)
        return weights(net)

    assert run(SimpleProfiler(filename="p"), Manual) == run(None, Manual)
    assert run(SimpleProfiler(filename="p"), Net, accumulate_grad_batches=3) == run(
        None, Net, accumulate_grad_batches=3
    )


def test_without_a_profiler_no_frame_of_the_profilers_runs():
    frames = []

    def note(frame, event, _):
        if event == "call" and frame.f_globals.get("__name__", "").startswith("lt_loops."):
            frames.append((frame.f_globals["__name__"], frame.f_code.co_name))

    class Plain(Net):
        def training_step(self, batch, batch_idx):
            return self.layer(batch).sum()

    trainer = Trainer(max_epochs=1)
    sys.setprofile(note)
    try:
        trainer.fit(Plain(), BATCHES, BATCHES[:2])
    finally:
        sys.setprofile(None)
    assert not [f for f in frames if f[0].startswith("lt_loops.profilers")]
    assert frames.count(("lt_loops.automatic_optimization", "step")) == len(BATCHES)
    assert frames.count(("lt_loops.clock", "run")) == 3


def test_actions_are_counted_under_the_names_of_lightning():
    profiler = SimpleProfiler(filename="perf")
    fit(profiler, callbacks=[Watcher()])
    calls = {name: measured.calls for name, measured in profiler.actions.items()}
    expected = {
        "my_action": 16, "run_training_batch": 16, "run_training_epoch": 2, "run_validation": 3,
        "[LightningModule]Net.on_train_epoch_end": 2, "[Callback]Watcher.on_train_batch_end": 16,
        "[Strategy]SingleDevice.training_step": 16, "[Strategy]SingleDevice.backward": 16,
        "[Strategy]SingleDevice.optimizer_step": 16, "[LightningModule]Net.optimizer_zero_grad": 16,
        "[LightningModule]Net.configure_gradient_clipping": 16, "[LightningModule]Net.lr_scheduler_step": 2,
        "[Strategy]SingleDevice.validation_step": 7, "[_TrainingEpochLoop].train_dataloader_next": 18,
        "[_EvaluationLoop].val_next": 10, "[LightningModule]Net.configure_optimizers": 1,
    }  # fmt: skip
    assert calls == expected


def test_saving_and_logging_are_actions_too(tmp_path):
    class Logger:
        name, version, save_dir = "", 0, str(tmp_path)
        log_metrics = save = finalize = lambda *_, **__: None

    profiler = SimpleProfiler(filename="perf")
    trainer, _ = fit(profiler, loggers=[Logger()], log_every_n_steps=4)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    assert profiler.actions["save_checkpoint"].calls == 1
    assert profiler.actions["log_metrics"].calls == 6
    parts = {"set-up", "steps", "data", "validation", "logging", "checkpoints", "hooks"}
    assert set(trainer.clock.seconds) == parts


def test_every_second_counts_in_one_part_only():
    trainer, _ = fit(None)
    inner = trainer.clock.timed("inner", lambda: sum(range(200_000)))
    trainer.clock.seconds.clear()
    trainer.clock.timed("outer", inner)()
    assert trainer.clock.seconds["outer"] < trainer.clock.seconds["inner"]


def test_the_summary_is_printed_at_the_end_of_each_entry_point():
    bar = Bar()
    trainer, net = fit(SimpleProfiler(), callbacks=[bar])
    trainer.predict(net, BATCHES)
    first, second = bar.said
    assert "run_training_batch" in first
    assert "run_training_batch" not in second
    assert "[Strategy]SingleDevice.predict_step" in second


def test_a_file_name_gives_a_file_for_each_stage_and_runs_add_to_it(tmp_path, capsys):
    for _ in range(2):
        trainer, net = fit(SimpleProfiler(tmp_path, "per/f"))
    trainer.validate(net, BATCHES, verbose=False)
    assert sorted(p.name for p in tmp_path.glob("*.txt")) == ["fit-per_f-0.txt", "validate-per_f-0.txt"]
    assert (tmp_path / "fit-per_f-0.txt").read_text().count("Profile of") == 2
    assert "Profile" not in capsys.readouterr().out


def test_a_run_that_fails_says_where_its_time_went_and_raises_its_own_error(tmp_path):
    class Failing(Net):
        def training_step(self, batch, batch_idx):
            raise ArithmeticError("mine")

    for kind in KINDS:
        with pytest.raises(ArithmeticError, match="mine"):
            Trainer(max_epochs=1, profiler=kind(tmp_path, kind.__name__)).fit(Failing(), BATCHES)
        assert (tmp_path / f"fit-{kind.__name__}-0.txt").is_file()


def test_simple_without_extension_shows_mean_and_total():
    profiler = SimpleProfiler(extended=False)
    with profiler.profile("mine"):
        pass
    head, row = profiler.summary().splitlines()[1:]
    assert head.split() == ["Mean", "(s)", "Total", "(s)", "Action"]
    assert len(row.split()) == 3


def test_unbalanced_actions_are_refused():
    simple, advanced, torchs = SimpleProfiler(), AdvancedProfiler(), PyTorchProfiler()
    simple.start("a")
    with pytest.raises(ValueError, match="'a' was started while"):
        simple.start("a")
    with pytest.raises(ValueError, match="'b' was stopped without"):
        simple.stop("b")
    for profiler in (advanced, torchs):
        with pytest.raises(ValueError, match="'b' was stopped"):
            profiler.stop("b")


def test_what_a_wrapped_call_raises_is_raised_and_measured():
    profiler = SimpleProfiler()
    with pytest.raises(ZeroDivisionError):
        profiler.wrap("divide", lambda: 1 / 0)()
    assert profiler.actions["divide"].calls == 1


def test_a_simple_profiler_with_its_own_start_is_heard():
    class Loud(SimpleProfiler):
        started = ()

        def start(self, action_name):
            self.started += (action_name,)
            super().start(action_name)

    profiler = Loud()
    profiler.wrap("mine", len)("abc")
    assert profiler.started == ("mine",)


def test_advanced_gives_functions_to_the_innermost_action():
    profiler = AdvancedProfiler(line_count_restriction=5)
    with profiler.profile("outer"):
        with profiler.profile("inner"):
            sorted([2, 1])
        len("x")
    outer, inner = profiler.summary().split("Profile of inner")
    assert "sorted" in inner
    assert "sorted" not in outer
    assert "len" in outer


def test_advanced_dumps_stats_that_pstats_reads(tmp_path):
    fit(AdvancedProfiler(tmp_path, "perf", dump_stats=True))
    stats = marshal.loads((tmp_path / "fit-perf-0-run_training_batch.prof").read_bytes())
    assert any(name == "__call__" for _, _, name in stats)


def test_pytorch_records_three_steps_with_actions_and_modules(tmp_path):
    profiler = PyTorchProfiler(tmp_path, "perf")
    _, net = fit(profiler)
    names = {e["name"] for e in json.loads((tmp_path / "fit-perf-0.5.pt.trace.json").read_text())["traceEvents"]}
    assert {"run_training_batch", "my_action", "[nn.Module]Linear: layer", "ProfilerStep#4"} <= names
    assert "ProfilerStep#1" not in names
    assert "aten::linear" in (tmp_path / "fit-perf-0.txt").read_text()
    assert not net.layer._forward_hooks


def test_pytorch_with_a_schedule_of_the_user_and_a_handler(tmp_path):
    seen = []
    profiler = PyTorchProfiler(
        tmp_path, "perf", schedule=None, on_trace_ready=seen.append, sort_by_key="self_cpu_memory_usage",
        profile_memory=True, record_module_names=False,
    )  # fmt: skip
    fit(profiler)
    assert seen == [profiler.profiler]
    assert not list(tmp_path.glob("*.json"))
    text = (tmp_path / "fit-perf-0.txt").read_text()
    assert "Self CPU Mem" in text
    assert "[nn.Module]" not in text


def test_pytorch_says_when_there_were_too_few_steps():
    bar = Bar()
    Trainer(fast_dev_run=1, profiler=PyTorchProfiler(), callbacks=[bar]).fit(Net(), BATCHES)
    assert bar.said == ["PyTorchProfiler recorded nothing: its schedule had not begun after 1 steps."]


def test_pytorch_refuses_arguments_that_nobody_has():
    with pytest.raises(TypeError, match="Did you mean `with_stack`"):
        PyTorchProfiler(with_stak=True)
    with pytest.raises(TypeError, match="Did you mean `top_level_events_only`"):
        PyTorchProfiler(table_kwargs={"top_level_event": True})
    with pytest.raises(ValueError, match="Did you mean `cpu_time`"):
        PyTorchProfiler(sort_by_key="cpu_tim")


def test_a_profiler_of_ones_own_needs_start_stop_and_summary():
    class Counting(Profiler):
        number = 0

        def start(self, action_name):
            self.number += 1

        def stop(self, action_name):
            self.last = action_name

        def summary(self):
            return f"{self.number} actions"

    bar = Bar()
    fit(Counting(), callbacks=[bar])
    assert bar.said[0].endswith(" actions")
    assert int(bar.said[0].split()[0]) > 100


def test_what_is_no_profiler_is_refused():
    with pytest.raises(TypeError, match="`profiler` got True, which has no `start`"):
        Trainer(profiler=True)
    assert type(Trainer().profiler) is PassThroughProfiler


def test_a_profiler_serves_a_loop_of_ones_own(capsys):
    profiler = SimpleProfiler()
    step = profiler.wrap("step", lambda x: x + 1)
    assert [step(i) for i in range(3)] == [1, 2, 3]
    profiler.describe()
    assert "step" in capsys.readouterr().out


def test_without_a_profiler_a_few_fetches_of_an_epoch_are_watched_and_the_rest_pass_through():
    clock = Clock(None, None)
    assert clock.data_share is None
    given = iter(range(100))
    batches = clock.batches("[_TrainingEpochLoop].train_dataloader_next", given)
    assert [*batches] == list(range(100))
    assert 0 < clock.data_share <= 1
    assert clock.batches("[_EvaluationLoop].val_next", given) is given
