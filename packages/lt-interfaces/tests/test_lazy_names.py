"""Names that are imported on first use, seen on a small package of files."""

import pickle
import sys
from importlib import import_module

import pytest

INIT = """
from lt_interfaces.lazy_names import lazy_names

__all__, __getattr__, __dir__ = lazy_names(__name__, {"json": "dumps", ".": "tools", ".cats": "Cat purr"})
"""


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """A package called `pets` in which nothing is imported yet."""
    folder = tmp_path / "pets"
    folder.mkdir()
    (folder / "__init__.py").write_text(INIT)
    (folder / "cats.py").write_text("class Cat:\n    pass\n\n\ndef purr():\n    return 'rrr'\n")
    (folder / "tools.py").write_text("BRUSH = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module(folder.name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pets"]:
        del sys.modules[name]


def test_a_module_is_imported_when_a_name_of_its_is_first_used(pets):
    assert "pets.cats" not in sys.modules
    assert pets.purr() == "rrr"
    assert "pets.cats" in sys.modules
    assert "pets.tools" not in sys.modules


def test_names_come_from_files_other_packages_and_modules_of_the_package(pets):
    assert pets.dumps([1]) == "[1]"
    assert pets.tools.BRUSH == 1
    assert pets.Cat.__module__ == "pets.cats"


def test_a_name_is_looked_up_once(pets):
    assert "Cat" not in vars(pets)
    assert pets.Cat is vars(pets)["Cat"]


def test_dir_and_star_import_know_all_names(pets):
    found = {}
    exec("from pets import *", found)
    assert dir(pets) == pets.__all__ == ["Cat", "dumps", "purr", "tools"]
    assert set(pets.__all__) <= set(found)


def test_what_is_no_name_may_still_be_a_file_of_the_package(pets):
    found = {}
    exec("from pets import cats", found)
    assert found["cats"].Cat is pets.Cat


def test_an_unknown_name_is_told_the_nearest_one(pets):
    with pytest.raises(AttributeError, match=r"'pets' has no attribute 'Cst'\. Did you mean `Cat`\?"):
        pets.Cst  # noqa: B018


def test_classes_pickle(pets):
    assert isinstance(pickle.loads(pickle.dumps(pets.Cat())), pets.Cat)
