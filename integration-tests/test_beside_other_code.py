"""Objects in place of names, and modules and groups that somebody else has made; one program under torchrun."""

import json
import sys

import pytest
from programs import run

PROGRAM = """
import json
import os

import lt as L
import torch
import torch.distributed as dist
from lt_accel import DDPStrategy, Fabric, MixedPrecision, TorchElasticEnvironment
from torch.nn.parallel import DistributedDataParallel

DATA = torch.arange(24.0).reshape(8, 3) / 24


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 1)
        self.unused = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        self.computed = self.layer(batch).dtype
        return self.layer(batch).float().pow(2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fitted(model, data, **options):
    off = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger"), False)
    trainer = L.Trainer(accelerator="cpu", max_epochs=2, **off, **options)
    trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=len(data) // 2))
    return trainer


def objects():
    precision, environment = MixedPrecision("bf16-mixed", "cpu"), TorchElasticEnvironment()
    strategy = DDPStrategy(find_unused_parameters=True)
    model = Model()
    trainer = fitted(model, DATA, devices=2, strategy=strategy, plugins=[precision, environment])
    kept = trainer.strategy is strategy and trainer.precision_plugin is precision
    return kept, trainer.strategy.environment is environment, str(model.computed), trainer.world_size


def own_group():
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    net = torch.nn.Linear(3, 1)
    ddp = DistributedDataParallel(net)
    model, optimizer = fabric.setup(ddp, torch.optim.SGD(ddp.parameters(), lr=0.1))
    fabric.backward(model(DATA * (fabric.global_rank + 1)).mean())
    optimizer.step()
    alike = torch.equal(*fabric.all_gather(net.weight.detach()))
    fabric.teardown()
    return alike, dist.is_initialized()


def wrapped():
    try:
        fitted(DistributedDataParallel(Model()), DATA, devices=2, strategy="ddp")
    except Exception as error:
        return str(error)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    told = {"own_group": own_group(), "wrapped": wrapped()}
    dist.destroy_process_group()
    told["objects"] = objects()
    if int(os.environ["RANK"]) == 0:
        print("TOLD " + json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("beside")
    (folder / "program.py").write_text(PROGRAM)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    done = run(*torchrun, "program.py", cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    return json.loads(line.removeprefix("TOLD "))


def test_objects_are_taken_as_they_are(told):
    assert told["objects"] == [True, True, "torch.bfloat16", 2]


def test_a_group_and_a_wrapper_of_somebody_elses_are_used_and_left(told):
    assert told["own_group"] == [True, True]


def test_a_wrapper_is_no_module_for_the_trainer_which_names_it(told):
    assert "`DistributedDataParallel`. Pass its `.module`" in told["wrapped"]
