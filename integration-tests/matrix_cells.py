"""The same small training in each cell of strategy x precision; a program, so that processes can be started for it.

    python matrix_cells.py PROCESSES FILE CELL...

CELL is `strategy:precision:accumulate`, or `counts:20` for what is exchanged in ten steps that log 20 values each.
"""

import os
import sys
from collections import Counter

import lt as L
import torch
from lt_accel import FSDPStrategy, MixedPrecision, ModelParallelStrategy
from torch import nn
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, TensorDataset

WINDOW, TRAINED, HELD_OUT = 24, 48, 17  # samples of an optimizer step, of an epoch, of an evaluation with a remainder


def samples(number: int) -> TensorDataset:
    made = torch.Generator().manual_seed(number)
    return TensorDataset(torch.randn(number, 3, generator=made), torch.arange(number))


def wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.itemsize == 2 else tensor


class Model(L.LightningModule):
    def __init__(self, logged: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.names = nn.Linear(3, 8), nn.Linear(8, 1), [f"loss_{i}" for i in range(logged)]

    def forward(self, x):
        return self.second(self.first(x).relu()) * 1.0

    def training_step(self, batch, batch_idx):
        loss = (wide(self(batch[0])) - wide(batch[0].sum(1, keepdim=True))).pow(2).mean()
        for name in self.names:
            self.log(name, loss, on_step=len(self.names) > 1, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch, batch_idx):
        output = wide(self(batch[0]))
        self.log("val_mean", output.mean(), batch_size=len(output))
        self.log("val_worst", output.max(), reduce_fx="max")
        self.log("val_count", float(len(output)), reduce_fx="sum")

    def predict_step(self, batch, batch_idx):
        return batch[1], wide(self(batch[0])).flatten()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def tensor_parallel(module, mesh):
    return parallelize_module(
        module, mesh["tensor_parallel"], {"first": ColwiseParallel(), "second": RowwiseParallel()}
    )


def strategy_of(name: str, processes: int):
    if processes == 1:
        return "auto"
    if name == "hybrid":
        return FSDPStrategy(device_mesh=(2, processes // 2))
    if name == "grad_op":
        return FSDPStrategy(sharding_strategy="SHARD_GRAD_OP")
    if name == "tensor":
        return ModelParallelStrategy(tensor_parallel, 1, processes, save_distributed_checkpoint=False)
    return name


def precision_of(name: str) -> dict:
    """Scaled from where no step overflows: which would be left out depends on how the batch is cut."""
    if name == "16-mixed":
        return {"plugins": MixedPrecision(name, "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))}
    return {"precision": name}


def trainer_for(processes: int, **options) -> L.Trainer:
    off = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger"), False)
    return L.Trainer(**{"accelerator": "cpu", "devices": processes, "num_sanity_val_steps": 0, **off, **options})


def cell(processes: int, file: str, strategy: str, precision: str, accumulate: int) -> dict:
    trainer = trainer_for(
        processes, strategy=strategy_of(strategy, processes), max_epochs=3, accumulate_grad_batches=accumulate,
        **precision_of(precision),
    )  # fmt: skip
    parts = 1 if strategy == "tensor" else processes
    model = Model()
    trainer.fit(
        model,
        DataLoader(samples(TRAINED), batch_size=WINDOW // parts // accumulate),
        DataLoader(samples(HELD_OUT), batch_size=4),
    )
    trainer.save_checkpoint(f"{file}.ckpt")
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    told = trainer.predict(model, DataLoader(samples(HELD_OUT), batch_size=4))
    own = [(int(i), float(v)) for ids, values in told for i, v in zip(ids, values, strict=True)]
    trainer.fabric.launch()
    trainer.fabric.teardown()
    return {
        "steps": trainer.global_step,
        "metrics": metrics,
        "predictions": repr(own),
        "weights": torch.load(f"{file}.ckpt", weights_only=True)["state_dict"],
    }


class Watch(L.Callback):
    """Counts what crosses process borders, and numbers read from tensors, in the batches 10 to 19."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 10:
            self.seen = profile(activities=[ProfilerActivity.CPU])
            self.seen.start()
        elif batch_idx == 20:
            self.seen.stop()
            names = [event.name for event in self.seen.events()]
            watched = ("gloo:", "c10d::", "aten::_local_scalar_dense")
            self.counts = Counter(name for name in names if name.startswith(watched))


def counts(processes: int, logged: int) -> dict:
    watch = Watch()
    strategy = "ddp" if processes > 1 else "auto"
    trainer = trainer_for(processes, strategy=strategy, max_epochs=1, callbacks=[watch], log_every_n_steps=100)
    trainer.fit(Model(logged), DataLoader(samples(60 * processes), batch_size=2))
    return dict(watch.counts)


def main(processes: str, file: str, *cells: str) -> None:
    results = {}
    for name in cells:
        kind, first, *accumulate = name.split(":")
        if kind == "counts":
            results[name] = counts(int(processes), int(first))
        else:
            results[name] = cell(int(processes), file, kind, first, int(accumulate[0]))
    if os.environ.get("LOCAL_RANK", "0") == "0":
        torch.save(results, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
