import sys

import pytest
from lt_cli.class_reference import load_class, registered_class, same_class
from lt_cli.failures import UsageError


def test_a_class_is_found_by_either_spelling():
    assert load_class("collections:OrderedDict") is load_class("collections.OrderedDict")
    assert same_class("a.b:C", "a.b.C")


def test_a_nested_class_is_found(tmp_path):
    (tmp_path / "nested_classes.py").write_text("class Outer:\n    class Inner: pass\n")
    assert load_class(f"{tmp_path}/nested_classes.py:Outer.Inner").__qualname__ == "Outer.Inner"


def test_a_file_is_imported_once_and_sees_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_net.py").write_text("class Base: pass\n")
    (tmp_path / "net_in_a_file.py").write_text("import neighbour_of_net\nclass Net(neighbour_of_net.Base): pass\n")
    reference = f"{tmp_path}/net_in_a_file.py:Net"
    assert load_class(reference) is load_class(reference)
    assert sys.modules["net_in_a_file"].Net is load_class(reference)


def test_a_file_does_not_replace_a_module_of_the_same_name(tmp_path):
    (tmp_path / "json.py").write_text("class Net: pass\n")
    before = sys.modules["json"]
    assert load_class(f"{tmp_path}/json.py:Net").__module__ == "json_file"
    assert sys.modules["json"] is before


@pytest.mark.parametrize("reference", ["Net", "", ":Net", "collections:", "json:dumps"])
def test_what_names_no_class_is_refused(reference):
    with pytest.raises(UsageError):
        load_class(reference)


def test_an_installed_package_offers_defaults(tmp_path, monkeypatch):
    info = tmp_path / "offer-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offer\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lt.cli]\nspare = collections:OrderedDict\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registered_class("spare") is load_class("collections.OrderedDict")
    assert registered_class("nobody_offers_this") is None


def test_two_different_offers_ask_for_a_choice(tmp_path, monkeypatch):
    for name, value in (("one", "collections:OrderedDict"), ("two", "collections:Counter")):
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[lt.cli]\ncontested = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="Choose with `--contested`"):
        registered_class("contested")
