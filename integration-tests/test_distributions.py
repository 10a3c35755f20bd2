"""What is published: only the package's files, the same bytes each time, from the tree or from the sdist."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from source_tree import PACKAGES, Package

each_package = pytest.mark.parametrize("package", PACKAGES, ids=[package.name for package in PACKAGES])


def build(folder: Path, target: Path, kind: str) -> Path:
    """The one file that hatchling writes: a wheel or an sdist."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [built] = target.iterdir()
    return built


@each_package
def test_a_wheel_holds_the_package_and_its_papers(package: Package, tmp_path: Path):
    names = set(zipfile.ZipFile(build(package.folder, tmp_path, "wheel")).namelist())
    sources = {p for p in package.source.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    papers = f"{package.import_name}-{package.project['version']}.dist-info"
    expected = {p.relative_to(package.source.parent).as_posix() for p in sources}
    expected |= {f"{papers}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
    if {"scripts", "entry-points"} & set(package.project):
        expected.add(f"{papers}/entry_points.txt")
    assert names == expected
    assert not [name for name in names if name.endswith((".pth", ".so"))]


@each_package
def test_a_wheel_from_the_sdist_has_the_same_bytes(package: Package, tmp_path: Path):
    sdist = build(package.folder, tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    [folder] = (tmp_path / "unpacked").iterdir()
    known = {"src", "tests", "README.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert {path.name for path in folder.iterdir()} <= known
    first = build(package.folder, tmp_path / "first", "wheel")
    second = build(folder, tmp_path / "second", "wheel")
    assert first.read_bytes() == second.read_bytes()
    assert sdist.read_bytes() == build(package.folder, tmp_path / "again", "sdist").read_bytes()
