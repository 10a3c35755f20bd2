"""Constant command lines over an installed package that leaves a mark each time it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lt_cli.answers import is_constant

PACKAGE = '''
open("imported", "a").write("x")


class Trainer:
    def __init__(self, max_epochs: int = 1) -> None: pass

    def fit(self, model) -> None:
        """Train."""

    validate = test = predict = fit


class Net:
    def __init__(self, hidden: int = 8) -> None: pass
'''


class Installed:
    """A package with entry points, and the program started in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site, self.mark = folder, folder / "site", folder / "imported"
        # By its name it stands before the real `lt`, if there is one.
        self.install("lt", "trainer = offered:Trainer\nmodel = offered:Net\n")
        self.write(PACKAGE)

    def install(self, name: str, points: str) -> None:
        info = self.site / f"{name}-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[lt.cli]\n{points}")

    def write(self, text: str) -> None:
        (self.site / "offered.py").write_text(text)

    def ask(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {"PYTHONPATH": str(self.site), "XDG_CACHE_HOME": str(self.folder / "cache")}
        words, environment = [sys.executable, "-P", "-m", "lt_cli", *args], {**os.environ, **own, **environment}
        return subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60)

    @property
    def imports(self) -> int:
        return len(self.mark.read_text()) if self.mark.exists() else 0


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


@pytest.mark.parametrize(
    "args", [("fit", "--help"), ("fit", "-h"), ("completion", "bash"), ("config",), ("config", "test")]
)
def test_the_second_answer_is_the_first_and_imports_no_class(installed, args):
    first, second = installed.ask(*args), installed.ask(*args)
    assert (first.returncode, first.stderr, installed.imports) == (0, "", 1)
    assert second.stdout == first.stdout
    assert "hidden" in second.stdout


def test_an_edited_class_is_seen(installed):
    assert "--model.hidden" in installed.ask("fit", "--help").stdout
    installed.write(PACKAGE.replace("hidden: int", "units: int"))
    found = installed.ask("fit", "--help").stdout
    assert "--model.units" in found
    assert "--model.hidden" not in found


def test_a_package_that_came_later_is_seen(installed):
    installed.ask("fit", "--help")
    installed.install("second", "data = collections:Counter\n")
    assert "--data" in installed.ask("fit", "--help").stdout


def test_the_environment_and_the_terminal_are_seen(installed):
    assert installed.ask("fit", "--help", COLUMNS="60").stdout != installed.ask("fit", "--help", COLUMNS="160").stdout
    before = installed.imports
    installed.ask("config", LT_TRAINER_MAX_EPOCHS="7")
    installed.ask("config", LT_TRAINER_MAX_EPOCHS="8")
    assert installed.imports == before + 2


@pytest.mark.parametrize("damage", ["", "[1]", '{"circumstances": 1}', "\x00"])
def test_a_damaged_file_is_made_anew(installed, damage):
    good = installed.ask("fit", "--help").stdout
    [kept] = (installed.folder / "cache/lt").iterdir()
    kept.write_text(damage)
    assert installed.ask("fit", "--help").stdout == good
    assert installed.ask("fit", "--help").stdout == good
    assert installed.imports == 2


def test_a_folder_that_takes_no_files_costs_nothing_but_time(installed):
    (installed.folder / "cache").write_text("a file")
    for _ in range(2):
        assert "--model.hidden" in installed.ask("fit", "--help").stdout
    assert installed.imports == 2


def test_a_folder_that_depends_on_where_one_stands_is_not_used(installed):
    home = installed.folder / "home"
    home.mkdir()
    for _ in range(2):
        installed.ask("fit", "--help", XDG_CACHE_HOME="here", HOME=str(home))
    assert installed.imports == 1
    assert [path.parent.name for path in home.rglob("*.json")] == ["lt"]
    assert not (installed.folder / "here").exists()


def test_a_failure_is_kept_from_nobody(installed):
    installed.write("raise RuntimeError('broken')\n")
    assert "broken" in installed.ask("fit", "--help").stderr
    installed.write(PACKAGE)
    assert installed.ask("fit", "--help").returncode == 0


@pytest.mark.parametrize(
    ("line", "constant"),
    [
        ("fit --help", True),
        ("completion zsh", True),
        ("config predict", True),
        ("fit", False),
        ("fit --model net.py:Net --help", False),
        ("config --config a.yaml", False),
        ("report --help", True),
        ("config --help", False),
        ("completion fish", False),
    ],
)
def test_only_what_depends_on_nothing_else_is_constant(line, constant):
    assert is_constant(line.split()) is constant
