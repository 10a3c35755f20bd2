"""Training goes on while checkpoints are written, and hears of a save that fails within a step."""

import os
from pathlib import Path
from threading import Event
from typing import Any

import lt as L
import lt_checkpoint
import pytest
from faulty import Data, Model
from lt_checkpoint import AsyncCheckpointIO, CheckpointIO

QUIET: dict[str, Any] = {
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip


class Plain(Model):
    def configure_callbacks(self) -> list[Any]:
        return []


class Waiting(CheckpointIO):
    """Writes when it is told to."""

    def __init__(self, fails_at: str = "never") -> None:
        self.go, self.started, self.fails_at = Event(), Event(), fails_at

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        self.started.set()
        assert self.go.wait(60)
        if self.fails_at in str(path):
            raise OSError(f"no space left for {path}")
        super().save_checkpoint(checkpoint, path)


class Opening(L.Callback):
    """Lets the writer go on once training has gone on for three steps since the save of step 4 began."""

    def __init__(self, io: Waiting) -> None:
        self.io, self.steps = io, 0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step > 4:
            assert self.io.started.wait(60)
            self.steps += 1
        if self.steps == 3:
            self.io.go.set()


class Hearing(L.Callback):
    """Goes into the step after a save that fails only when the failure is known."""

    def __init__(self, io: Waiting, step: int) -> None:
        self.io, self.step = io, step

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        self.io.go.set()
        while trainer.global_step == self.step and trainer.stop_signal is None:
            Event().wait(0.001)


def trainer(saver: Any, io: Any, *callbacks: Any, epochs: int = 4, **others: Any) -> L.Trainer:
    return L.Trainer(max_epochs=epochs, callbacks=[saver, *callbacks], plugins=[io], **QUIET, **others)


def every_step(folder: Path, **others: Any) -> Any:
    return L.callbacks.ModelCheckpoint(folder, every_n_train_steps=1, **others)


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path):
    io = Waiting()
    opening = Opening(io)
    saver = L.callbacks.ModelCheckpoint(tmp_path / "kept", every_n_train_steps=4, save_last=True)
    trainer(saver, AsyncCheckpointIO(io), opening).fit(Plain(), datamodule=Data())
    assert opening.steps >= 3
    assert sorted(os.listdir(tmp_path / "kept")) == ["epoch=3-step=8.ckpt", "last.ckpt"]
    assert lt_checkpoint.load(saver.best_model_path)["global_step"] == 8


def test_background_and_blocking_saves_leave_the_same_files(tmp_path: Path):
    for name, io in (("a", AsyncCheckpointIO()), ("b", CheckpointIO())):
        L.seed_everything(1, verbose=False)
        saver = every_step(tmp_path / name, monitor="val_loss", save_top_k=2, save_last=True)
        trainer(saver, io).fit(Plain(), datamodule=Data())
    assert sorted(os.listdir(tmp_path / "a")) == sorted(os.listdir(tmp_path / "b"))
    for path in (tmp_path / "a").iterdir():
        ours, other = lt_checkpoint.load(path), lt_checkpoint.load(tmp_path / "b" / path.name)
        assert str(ours["state_dict"]) == str(other["state_dict"])
        assert str(ours["optimizer_states"]) == str(other["optimizer_states"])


@pytest.mark.parametrize("step", [1, 3, 8])
def test_a_failed_save_ends_training_within_one_step_and_the_file_before_stays(tmp_path: Path, step: int):
    io = Waiting(fails_at=f"step={step}.ckpt")
    loop = trainer(every_step(tmp_path / "kept"), AsyncCheckpointIO(io), Hearing(io, step))
    if step == 8:  # nothing comes after it
        io.go.set()
    with pytest.raises(OSError, match=rf"no space left for .*step={step}\.ckpt"):
        loop.fit(Plain(), datamodule=Data())
    assert loop.global_step <= step + 1
    assert loop.state.status == "interrupted"
    left = lt_checkpoint.newest(tmp_path / "kept") if (tmp_path / "kept").exists() else []
    assert [path.name.partition("-")[2] for path in left] == ([f"step={step - 1}.ckpt"] if step > 1 else [])


def test_a_run_whose_file_was_still_on_its_way_continues_from_it(tmp_path: Path):
    loop = trainer(L.callbacks.ModelCheckpoint(tmp_path / "kept", save_last=True), AsyncCheckpointIO(), epochs=1)
    loop.fit(Plain(), datamodule=Data())
    loop.fit_loop.max_epochs = 3
    loop.fit(Plain(), datamodule=Data(), ckpt_path=loop.checkpoint_callback.last_model_path)
    assert loop.global_step == 6
    loop.save_checkpoint("now.ckpt")
    assert loop.engine.load("now.ckpt")["global_step"] == 6


def test_a_checkpoint_of_ones_own_making_goes_where_its_plugin_says(tmp_path: Path):
    class Elsewhere(CheckpointIO):
        def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
            super().save_checkpoint(checkpoint, tmp_path / "else" / Path(path).name)

        def exists(self, path: Any) -> bool:
            return super().exists(tmp_path / "else" / Path(path).name)

        def remove_checkpoint(self, path: Any) -> None:
            super().remove_checkpoint(tmp_path / "else" / Path(path).name)

    trainer(every_step(tmp_path / "kept", save_top_k=1), Elsewhere()).fit(Plain(), datamodule=Data())
    assert os.listdir(tmp_path / "else") == ["epoch=3-step=8.ckpt"]


def test_in_a_hand_written_loop_fabric_saves_in_the_background(tmp_path: Path):
    io = Waiting()
    fabric = L.Fabric(accelerator="cpu", devices=1, plugins=AsyncCheckpointIO(io))
    fabric.launch()
    fabric.save(tmp_path / "x.ckpt", {"step": 1})
    assert not (tmp_path / "x.ckpt").exists()
    io.go.set()
    fabric.checkpoint_io.flush()
    assert fabric.load(tmp_path / "x.ckpt") == {"step": 1}


def test_a_second_run_in_the_folder_is_refused_until_the_first_one_ends(tmp_path: Path):
    seen = []

    class Second(L.Callback):
        def on_train_start(self, trainer_: Any, *_: Any) -> None:
            with pytest.raises(RuntimeError, match=rf"kept` is being written to by process {os.getpid()} on "):
                trainer(every_step(tmp_path / "kept"), CheckpointIO()).fit(Plain(), datamodule=Data())
            seen.append(sorted(os.listdir(tmp_path / "kept")))

    for _ in range(2):
        trainer(every_step(tmp_path / "kept"), CheckpointIO(), Second()).fit(Plain(), datamodule=Data())
    assert [".lt-claim" in names for names in seen] == [True, True]
    assert not (tmp_path / "kept" / ".lt-claim").exists()


def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path: Path):
    class Broken(Plain):
        def on_train_start(self) -> None:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        trainer(every_step(tmp_path / "kept"), AsyncCheckpointIO()).fit(Broken(), datamodule=Data())
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("plugins", [[CheckpointIO(), AsyncCheckpointIO()], [object()]])
def test_one_plugin_says_where_checkpoints_go(plugins: list[Any]):
    with pytest.raises((ValueError, TypeError), match="CheckpointIO"):
        L.Fabric(accelerator="cpu", devices=1, plugins=plugins)
