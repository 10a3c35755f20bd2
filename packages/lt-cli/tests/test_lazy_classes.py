import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lt_cli import LightningCLI
from lt_cli.class_reference import import_named, load_class
from lt_cli.lazy_classes import all_class_names, import_named_in

parts = sys.modules[load_class(f"{Path(__file__).parent}/cli_parts.py:Net").__module__]
PACKAGE = """
from lt_interfaces.lazy_names import lazy_names
__all__, __getattr__, __dir__ = lazy_names(__name__, {".pausing": "Pause", ".slow": "Slow"})
"""
PAUSING = """
from lt_interfaces import Callback
class Pause(Callback):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a package is that nobody has imported a class of."""
    place = tmp_path_factory.mktemp("site")
    (place / "lt_of_test").mkdir()
    (place / "lt_of_test/__init__.py").write_text(PACKAGE)
    (place / "lt_of_test/pausing.py").write_text(PAUSING)
    (place / "lt_of_test/slow.py").write_text(PAUSING.replace("Pause", "Slow"))
    sys.path.append(str(place))
    import_named("lt_of_test")
    return place


def callbacks(*args: str, given: Any = None) -> list[Any]:
    options = {"trainer_class": parts.Trainer, "save_config_callback": None, "run": given is None}
    return list(LightningCLI(parts.Net, parts.Data, args=given or ["fit", *args], **options).trainer.callbacks)


def test_only_what_a_text_names_is_imported(monkeypatch):
    asked: list[str] = []
    package = ModuleType("lt_of_another")
    package.__all__, package.__getattr__ = ["Pause", "Slow", "stop"], asked.append
    monkeypatch.setitem(sys.modules, "lt_of_another", package)
    import_named_in("--callbacks+=Pause --stop")
    assert asked == ["Pause"]
    all_class_names(())
    assert asked == ["Pause", "Pause", "Slow"]


def test_a_class_that_nobody_imported_is_found_by_its_name(folder):
    (callback,) = callbacks("--callbacks+=Pause", "--callbacks.seconds=2.5")
    assert callback.seconds == 2.5


def test_a_file_and_a_table_find_it_too(folder):
    described = {"class_path": "Pause", "init_args": {"seconds": 3}}
    (folder / "c.yaml").write_text(f"trainer:\n  callbacks:\n  - {described}\n")
    assert callbacks("--config", f"{folder}/c.yaml")[0].seconds == 3
    assert callbacks(given={"trainer": {"callbacks": [described]}})[0].seconds == 3


def test_the_name_that_was_meant_is_found_among_all(folder, capsys):
    with pytest.raises(SystemExit):
        callbacks("--callbacks+=Slo", "--callbacks.seconds=2.5")
    assert "`--callbacks` knows no class `Slo`. Did you mean `Slow`?" in capsys.readouterr().err
