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


def loaded_by(code: str) -> list[str]:
    """The modules that a program loads beyond those of torch, its optimizers and its loaders."""
    first = "import sys, torch._dynamo, torch.utils.data; before = set(sys.modules)\n"
    return run(f"{first}{code}\nprint(*(set(sys.modules) - before))").split()


def test_naming_the_trainer_loads_little():
    assert len(loaded_by("import lt; lt.Trainer")) <= 83


def test_fabric_loads_little():
    assert len(loaded_by("from lt_accel import Fabric; Fabric()")) <= 65


BARE_FIT = """
import lt, logging, torch
from torch import nn

logging.getLogger("lt").addHandler(logging.NullHandler())

class Tiny(lt.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

trainer = lt.Trainer(max_steps=1, accelerator="cpu", barebones=True)
trainer.fit(Tiny(), torch.utils.data.DataLoader(torch.ones(2, 2)))
"""


def test_a_fit_without_extras_loads_no_extras():
    loaded = loaded_by(BARE_FIT)
    assert len(loaded) <= 135
    assert not {"yaml", "html", "cProfile", "torch.utils.flop_counter", "torch.nn.utils.prune"} & set(loaded)
    assert not [name for name in loaded if name.startswith(("torch.distributed.algorithms", "lt_loggers."))]


LATE = """
import os, sys, tempfile
os.chdir(tempfile.mkdtemp())
loaded = set()

class Watch(lt.Callback):
    def on_train_batch_end(self, *args):
        loaded.update(sys.modules)

trainer = lt.Trainer(max_epochs=1, accelerator="cpu", callbacks=Watch())
trainer.fit(Tiny(), torch.utils.data.DataLoader(torch.ones(1, 2)))
print("late:", [name for name in set(sys.modules) - loaded if name.startswith("lt")])
"""


def test_what_a_run_needs_is_there_after_its_first_step():
    """A package that is upgraded while a run goes on is not mixed with what the run has loaded of it."""
    definitions = BARE_FIT.partition("trainer = ")[0]
    assert "late: []" in run("import warnings; warnings.simplefilter('ignore')\n" + definitions + LATE)
