import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_cli.config_file import MAX_BYTES, read_config
from lt_cli.failures import UsageError

KNOWN = {"seed_everything", "trainer.max_epochs", "trainer.accelerator", "model.hidden", "model.opt.lr", "model.extra"}
CLASSES = {"trainer": "lt.Trainer", "model": "net:Net"}


def read(tmp_path, text):
    file = tmp_path / "train.yaml"
    file.write_text(text)
    return read_config(str(file), KNOWN, CLASSES)


def refused(tmp_path, text):
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    return str(error.value)


def test_values_come_back_as_they_are(tmp_path):
    text = "seed_everything: 1\ntrainer: {max_epochs: 2}\nmodel: {opt: {lr: 0.5}, extra: {any: [1, x]}}\n"
    assert read(tmp_path, text)["model"] == {"opt": {"lr": 0.5}, "extra": {"any": [1, "x"]}}
    assert read(tmp_path, "") == {}


def test_an_unknown_key_is_named_with_its_line_and_the_nearest(tmp_path):
    text = "seed_everything: 1\ntrainer:\n  max_epoch: 3\n"
    message = refused(tmp_path, text)
    assert "`trainer.max_epoch` is no setting" in message
    assert "train.yaml:3). Did you mean `trainer.max_epochs`?" in message


@pytest.mark.parametrize(
    ("text", "meant"),
    [("accelerator: cpu", "trainer.accelerator"), ("trainr: {}", "trainer"), ("model: {opt: {rl: 1}}", None)],
)
def test_a_key_in_the_wrong_place_is_refused(tmp_path, text, meant):
    message = refused(tmp_path, text)
    assert (f"Did you mean `{meant}`?" if meant else "--print_config") in message


def test_the_class_in_force_may_be_repeated_with_its_arguments(tmp_path):
    assert read(tmp_path, "model: {class_path: net.Net, init_args: {hidden: 3}}") == {"model": {"hidden": 3}}
    assert "`model.hiden`" in refused(tmp_path, "model: {class_path: net:Net, init_args: {hiden: 3}}")


def test_another_class_is_refused_before_anything_is_imported(tmp_path):
    message = refused(tmp_path, "model: {class_path: other.Net}")
    assert "Add `--model other.Net` if you trust it" in message


def test_an_alias_bomb_is_refused(tmp_path):
    lines = ["trainer: {}", "model:", "  extra:", "    a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"    a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 9)]
    assert "expands to more than" in refused(tmp_path, "\n".join(lines))


@pytest.mark.parametrize("text", ["model: {extra: " + "[" * 40 + "]" * 40 + "}", "[" * 5000, "model: &m {extra: *m}"])
def test_depth_is_bounded(tmp_path, text):
    assert "nested more than 32 levels" in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# " + "x" * MAX_BYTES, "larger than"),
        ("model:\n  a: [1", ":2` is not valid YAML: expected ',' or ']', but got '<stream end>'. Mend"),
        ("- 1", "no table of settings"),
        ("model: {extra: !!python/object/apply:os.getcwd []}", "not valid YAML"),
    ],
)
def test_what_is_no_plain_settings_file_is_refused(tmp_path, text, said):
    assert said in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "c.yaml",
            "trainer: {max_epochs: 1}\ntrainer: {}\n",
            "c.yaml:2` has the key `trainer` a second time. Remove one",
        ),
        ("c.json", '{"model": {"hidden": 1, "hidden": 2}}', "c.json` has the key `hidden` a second time."),
        ("c.json", '{\n\t"model":\t{\n\t\t"hiden": 1}}', "c.json:3). Did you mean `model.hidden`?"),
        ("c.json", '{"model": ', "c.json` is not valid JSON"),
        ("c.json", "[" * 100_000, "nested too deep"),
        ("c.toml", "[model]\n\nhiden = 1", "c.toml:3). Did you mean `model.hidden`?"),
    ],
)
def test_each_format_tells_what_is_wrong_and_where(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as error:
        read_config(str(tmp_path / name), KNOWN, CLASSES)
    assert said in str(error.value)


@pytest.mark.parametrize("place", ["https://example.org/c.yaml", "s3://bucket/c.yaml", "file:///c.yaml"])
def test_a_config_from_elsewhere_is_not_fetched(place):
    with pytest.raises(UsageError, match="is not read: settings from the network"):
        read_config(place, KNOWN, CLASSES)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = (
    st.sampled_from(["trainer", "model", "max_epochs", "hidden", "class_path", "init_args", "fit", "opt"]) | st.text()
)
TABLES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=9)


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@given(value=TABLES)
def test_any_values_are_a_table_of_known_keys_or_refused(tmp_path_factory, suffix, value):
    file = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    file.write_text(json.dumps(value))
    try:
        found = read_config(str(file), KNOWN, CLASSES, "fit")
    except UsageError:
        return
    assert set(found) <= {"seed_everything", "trainer", "model"}


def test_an_unknown_key_of_another_version_is_told_as_that(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("# lt==0.0.1\ntrainer: {max_epoch: 1}\n")
    for version, said in (("lt==0.2.0", True), ("lt==0.0.1", False), (None, False)):
        with pytest.raises(UsageError) as error:
            read_config(str(file), KNOWN, CLASSES, version=version)
        assert ("The file is from lt==0.0.1 and this is lt==0.2.0" in str(error.value)) is said


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "train.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_config(str(tmp_path / "train.yaml"), KNOWN, CLASSES)


def test_a_config_cannot_import_what_the_command_line_does_not_name(shell, folder):
    (folder / "evil.py").write_text("open('ran', 'w').close()\nclass Stop: pass\n")
    (folder / "train.yaml").write_text("trainer: {callbacks: [{class_path: evil.Stop}]}\n")
    status, _, err = shell("fit", "--config", "train.yaml", PYTHONPATH=str(folder))
    assert status == 2
    assert "`evil.Stop` is not imported" in err
    assert not (folder / "ran").exists()


def test_a_config_may_name_classes_beside_the_trainer(shell, folder):
    (folder / "train.yaml").write_text("trainer: {callbacks: [{class_path: project.Stop, init_args: {patience: 9}}]}\n")
    assert shell("fit", "--config", "train.yaml")[0] == 0
    status, _, err = shell("fit", "--config", "train.yaml", "--callbacks.patince", "1")
    assert status == 2
    assert "`Stop` has no argument `patince`. Did you mean `patience`?" in err
