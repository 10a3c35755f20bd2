"""An epoch that begins with one number of processes and ends with another: each sample is seen once."""

import ast
import os
import subprocess
import sys
from collections import Counter

import pytest

PROGRAM = """
import os, sys, torch
import lt as L
from torch.utils.data import DataLoader, Dataset

class Numbers(Dataset):
    def __len__(self):
        return 96

    def __getitem__(self, i):
        return torch.tensor([i / 96]), i

class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        with open(f"seen-{self.global_rank}", "a") as file:
            print(batch[1].tolist(), file=file)
        return self.layer(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

class Leave(L.Callback):
    def __init__(self, after):
        self.left = after

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.left -= 1
        if self.left == 0:
            trainer.save_checkpoint("at.ckpt")
            trainer.should_stop = True

if __name__ == "__main__":
    processes, batches, shuffle, seed = map(int, sys.argv[1:])
    L.seed_everything(seed)
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Leave(batches)],
    )
    path = "at.ckpt" if os.path.exists("at.ckpt") else None
    trainer.fit(Net(), DataLoader(Numbers(), 4, shuffle=bool(shuffle)), ckpt_path=path)
"""


@pytest.mark.parametrize(
    ("legs", "shuffle"),
    [([(1, 5), (2, 3), (1, 3), (1, 99)], 1), ([(2, 3), (2, 2), (3, 2), (2, 99)], 1), ([(3, 1), (1, 99)], 0)],
)
def test_each_sample_of_the_epoch_is_seen_once(tmp_path, legs, shuffle):
    (tmp_path / "program.py").write_text(PROGRAM)
    for seed, (processes, batches) in enumerate(legs):
        command = [sys.executable, "program.py", *map(str, (processes, batches, shuffle, seed))]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=dict(os.environ))
        assert done.returncode == 0, done.stderr
    seen: Counter[int] = Counter()
    for path in tmp_path.glob("seen-*"):
        for line in path.read_text().splitlines():
            seen.update(ast.literal_eval(line))
    assert seen == Counter(range(96))
