"""A trainer, a model and data in a file of their own, as a user would have them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = '''
from __future__ import annotations

import time
from typing import Any


class Stop:
    def __init__(self, patience: int = 3) -> None:
        self.patience = patience


class Trainer:
    """Trains.

    Args:
        accelerator: Where it runs, 100% of it.
    """

    def __init__(
        self,
        accelerator: str = "auto",
        max_epochs: int | None = None,
        limit_train_batches: float | int | None = None,
        fast_dev_run: int | bool = False,
        callbacks: list[Stop] | Stop | None = None,
    ) -> None:
        if max_epochs is not None and max_epochs < -1:
            raise ValueError(f"`max_epochs` must be at least -1, got {max_epochs}. Use -1 to train on.")
        self.flags = {k: v for k, v in locals().items() if k != "self"}

    def fit(self, model: Any, datamodule: Any = None, ckpt_path: str | None = None) -> None:
        """Train.

        Args:
            ckpt_path: Where to go on.
        """
        print("fit", self.flags["limit_train_batches"], model.hidden, getattr(datamodule, "size", None), ckpt_path)
        if ckpt_path == "none.ckpt":
            raise FileNotFoundError("There is no checkpoint `none.ckpt`. Name one that exists.")
        model.training_step()


class Model:
    def __init__(self, hidden: int = 8, fail: str = "") -> None:
        self.hidden, self.fail = hidden, fail

    def training_step(self) -> None:
        if self.fail == "exit":
            raise SystemExit(143)
        if self.fail == "sleep":
            print("ready", flush=True)
            time.sleep(60)
        if self.fail:
            raise ValueError(self.fail)


class Data:
    def __init__(self, size: int = 4) -> None:
        self.size = size
'''
STEPS = """
import project


class Model(project.Model):
    def training_step(self) -> None:
        if self.fail == "here":
            raise ValueError("wrong in the step")
        super().training_step()
"""
CLASSES = ("--trainer", "project:Trainer", "--model", "steps:Model", "--data", "project:Data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "steps.py").write_text(STEPS)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Callable[..., subprocess.Popen[str]]:
    def start(*args: str, classes: tuple[str, ...] = CLASSES, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "lt_cli", *args[:1], *classes, *args[1:]]
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def shell(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., tuple[int, str, str]]:
    def shell(*args: str, **options: object) -> tuple[int, str, str]:
        process = start(*args, **options)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return shell
