"""Importing costs little and does nothing."""

import subprocess
import sys

import pytest
from source_tree import BY_IMPORT_NAME, PACKAGES, Package

BACK_ENDS = ["tensorboard", "tensorflow", "wandb", "mlflow", "rich", "torchmetrics", "lightning", "pytorch_lightning"]
each_package = pytest.mark.parametrize("package", PACKAGES, ids=[package.name for package in PACKAGES])

WATCH = """
import sys, threading
seen = []
watched = ("socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.system")
sys.addaudithook(lambda event, args: seen.append((event, args)) if event.startswith(watched) else None)
"""

BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run(code: str) -> str:
    """What a fresh process prints; stderr becomes part of a failure."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def closure(package: Package) -> set[str]:
    """Import names of the package and the internal packages it needs."""
    found = {package.import_name}
    for name in package.required() & set(BY_IMPORT_NAME):
        found |= closure(BY_IMPORT_NAME[name])
    return found


def test_import_lt_touches_neither_torch_nor_a_back_end():
    loaded = run("import lt, sys; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert not {"torch", "numpy", *BACK_ENDS} & set(loaded)


def test_import_lt_opens_no_socket_and_starts_nothing():
    assert run(WATCH + "import lt; print(seen, threading.active_count())").strip() == "[] 1"


@each_package
def test_a_package_loads_no_back_end(package: Package):
    loaded = run(f"import {package.import_name}, sys; print(*{{n.partition('.')[0] for n in sys.modules}})").split()
    assert not set(BACK_ENDS) & set(loaded)


@each_package
def test_a_package_and_all_its_names_need_no_sibling_and_no_extra(package: Package):
    blocked = (set(BY_IMPORT_NAME) - closure(package)) | (package.optional() - {"torch"})
    code = (
        BLOCK.format(blocked=blocked)
        + f"""
import {package.import_name} as package
for name in getattr(package, "__all__", []):
    getattr(package, name)
"""
    )
    run(code)
