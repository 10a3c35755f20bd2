"""The last lines of a fit."""

import re
import time

import lt
import torch
from lt.messages import summary


class Model(lt.LightningModule):
    def __init__(self, names=("loss",), bar=()):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.names, self.bar = names, bar

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        for name in self.names:
            self.log(name, loss, prog_bar=name in self.bar)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fitted(module, **others):
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lt.Trainer(accelerator="cpu", devices=1, max_epochs=2, **{**off, **others})
    trainer.fit(module, [torch.ones(2, 4)] * 10)
    return trainer


def test_it_tells_steps_epochs_time_and_the_last_values():
    said = summary(fitted(Model()), 3.21).splitlines()
    assert re.fullmatch(r"Trained 20 steps to epoch 2 in 3\.2 s: loss [\d.e-]+", said[0])
    assert len(said) == 2


def test_of_many_metrics_it_tells_those_of_the_bar_and_some_others():
    names = ["group/a", *"bcdefgh", "z"]
    said = summary(fitted(Model(names, bar=("z",))), 1.0).splitlines()[0]
    assert re.findall(r"(\S+) [\d.e-]+(?:, |$)", said.split(": ")[1]) == ["z", "b", "c", "d", "e", "f"]
    assert said.endswith(", and 3 more")


def test_a_run_without_metrics_has_nothing_to_tell_of_them():
    assert summary(fitted(Model(())), 1.0).splitlines()[0] == "Trained 20 steps to epoch 2 in 1.0 s"


def test_it_counts_the_waits_for_the_device_that_lt_caused(tmp_path):
    logger = lt.loggers.CSVLogger(tmp_path)
    seen = {every: summary(fitted(Model(), logger=logger, log_every_n_steps=every), 1.0) for every in (1, 5)}
    counts = {every: int(re.search(r"device (\d+) times", said)[1]) for every, said in seen.items()}
    assert counts[1] - counts[5] == 16
    assert 4 <= counts[5] <= 8


class Slow:
    """Batches that have to be waited for."""

    def __len__(self):
        return 20

    def __iter__(self):
        for _ in range(20):
            time.sleep(0.01)
            yield torch.ones(2, 4)


def test_waiting_for_data_is_told_from_training_without_a_profiler():
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lt.Trainer(accelerator="cpu", devices=1, max_epochs=3, **off)
    trainer.fit(Model(), Slow())
    spent = sum(trainer.clock.seconds.values())
    shares = dict(re.findall(r"([a-z][a-z -]+) (\d+) %", summary(trainer, spent + 1.0).splitlines()[1]))
    assert list(shares) == ["set-up", "data", "steps and all else"]
    assert int(shares["data"]) > 0
