"""Each hostile file, through every public door: refused with a typed error, and nothing ran."""

import random
import sys
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import lt as L
import lt_checkpoint
import lt_loggers
import pytest
import torch
from faulty import Data, Model
from hostile_files import FILES, YAML
from lt_checkpoint.__main__ import main as command_line

del sys.modules["lt_checkpoint.__main__"]  # or running it as a program later would warn
STARTS = ("exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "subprocess.")
STARTS += ("socket.", "shutil.", "pickle.find_class", "ctypes.", "webbrowser.", "urllib.")
heard: list[str] = []
armed = False


def listen(event: str, args: tuple[Any, ...]) -> None:
    writes = event == "open" and str(args[1]).startswith(("w", "a", "x"))
    if armed and (event.startswith(STARTS) or writes):
        heard.append(f"{event} {args!r:.200}")


sys.addaudithook(listen)


class Plain(Model):
    def configure_callbacks(self) -> list[Any]:
        return []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layer(batch)


def trainer(root: Path | str = ".") -> L.Trainer:
    return L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, default_root_dir=root,
    )  # fmt: skip


def in_terminal(*words: str) -> None:
    told = StringIO()
    with redirect_stdout(told):
        status = command_line([*words])
    if status:
        raise lt_checkpoint.CorruptCheckpoint(told.getvalue())


DOORS: dict[str, Callable[[str], Any]] = {
    "load": lt_checkpoint.load,
    "load by its address": lambda path: lt_checkpoint.load(f"file://{Path(path).absolute()}"),
    "verify": lt_checkpoint.verify,
    "last_good": lambda path: lt_checkpoint.last_good([path]),
    "newest": lambda path: lt_checkpoint.last_good(lt_checkpoint.newest(Path(path).parent)),
    "sharded.load": lambda path: sharded(path),
    "CheckpointIO": lambda path: lt_checkpoint.CheckpointIO().load_checkpoint(path),
    "AsyncCheckpointIO": lambda path: lt_checkpoint.AsyncCheckpointIO().load_checkpoint(path),
    "verify in a terminal": lambda path: in_terminal("verify", path),
    "consolidate": lambda path: in_terminal("consolidate", path, "whole.ckpt"),
    "Fabric.load": lambda path: L.Fabric(accelerator="cpu", devices=1).load(path),
    "load_from_checkpoint": lambda path: Plain.load_from_checkpoint(path),
    "the data module's": lambda path: Data.load_from_checkpoint(path),
    "fit": lambda path: trainer().fit(Plain(), datamodule=Data(), ckpt_path=path),
    "fit from the last one": lambda path: trainer(Path(path).parent).fit(Plain(), datamodule=Data(), ckpt_path="last"),
    "validate": lambda path: trainer().validate(Plain(), datamodule=Data(), ckpt_path=path, verbose=False),
    "predict": lambda path: trainer().predict(Plain(), torch.ones(1, 4), ckpt_path=path),
}
SEES_FILES_ONLY = ("fit from the last one", "newest")  # where a folder, pipe or device is no candidate


def sharded(path: str) -> Any:
    from lt_checkpoint import sharded

    state = sharded.load(path)
    return [value.read() for value in state["state_dict"].values()]


@pytest.fixture(scope="module", autouse=True)
def _every_door_was_used(tmp_path_factory: pytest.TempPathFactory) -> None:
    """So that what is imported on first use is not taken for what a file has done."""
    folder = tmp_path_factory.mktemp("good")
    fitted = trainer()
    "".encode("cp437")  # which zipfile imports for names of records
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fitted.fit(Plain(), datamodule=Data())
        fitted.save_checkpoint("x.ckpt")
        (folder / "bad").mkdir()
        for door in DOORS.values():
            for path in ("x.ckpt", "missing.ckpt", "bad"):
                try:
                    door(path)
                except (OSError, lt_checkpoint.CheckpointError, TypeError, AttributeError):
                    continue


def refused(door: Callable[[str], Any], path: str) -> str:
    """The error's name; asserts that there is one of ours."""
    global armed
    armed = True
    try:
        door(path)
    except (lt_checkpoint.CheckpointError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        armed = False
    return ""


@pytest.mark.filterwarnings("ignore:Skipped a checkpoint", "ignore:There is no checkpoint under")
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_at_every_door_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    heard.clear()
    FILES[name](tmp_path / "run" / "x.ckpt", str(tmp_path / "marker"))
    before = sorted(tmp_path.rglob("*"))
    is_file = (tmp_path / "run" / "x.ckpt").is_file()
    for door, opened in DOORS.items():
        if not is_file and door in SEES_FILES_ONLY:
            continue
        told = refused(opened, "run/x.ckpt")
        assert "x.ckpt" in told, f"{door} let it in"
    assert heard == []
    assert sorted(tmp_path.rglob("*")) == before


def test_there_are_as_many_as_are_spoken_of():
    assert len(FILES) >= 40
    assert len(DOORS) >= 15


def test_the_hook_hears_what_a_hostile_file_would_do(tmp_path: Path):
    global armed
    FILES["os.system, in a zip"](tmp_path / "x.ckpt", str(tmp_path / "marker"))
    heard.clear()
    armed = True
    lt_checkpoint.load_unsafe(tmp_path / "x.ckpt", i_trust_this_file=True)
    armed = False
    assert [event.split()[0] for event in heard if "marker" in event] == ["os.system"]
    assert (tmp_path / "marker").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", ["_instantiator", "_target_", "class_path", "__class__", "init_args"])
def test_a_name_among_the_hyperparameters_is_never_imported(key: str, tmp_path: Path):
    fitted = trainer(tmp_path)
    fitted.fit(Plain(), datamodule=Data())
    fitted.save_checkpoint(tmp_path / "good.ckpt")
    state = lt_checkpoint.load(tmp_path / "good.ckpt")
    lt_checkpoint.save(state | {"hyper_parameters": {key: "antigravity.fly"}}, tmp_path / "x.ckpt")
    for door in ("load_from_checkpoint", "fit", "the data module's", "validate"):
        try:
            DOORS[door](str(tmp_path / "x.ckpt"))
        except TypeError:
            continue
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("name", YAML)
def test_a_hostile_hparams_file_runs_nothing(name: str, tmp_path: Path):
    global armed
    fitted = trainer(tmp_path)
    fitted.fit(Plain(), datamodule=Data())
    fitted.save_checkpoint(tmp_path / "good.ckpt")
    (tmp_path / "hparams.yaml").write_text(YAML[name](str(tmp_path / "marker")))
    before = sorted(tmp_path.rglob("*"))
    heard.clear()
    for read in (
        lt_loggers.load_hparams_from_yaml,
        lambda path: Plain.load_from_checkpoint(tmp_path / "good.ckpt", hparams_file=path),
    ):
        armed = True
        try:
            read(tmp_path / "hparams.yaml")
        except (ValueError, TypeError, RecursionError):
            continue
        finally:
            armed = False
    assert [event for event in heard if not event.startswith("import")] == []
    assert "antigravity" not in sys.modules
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Skipped a checkpoint")
def test_of_200_flipped_bits_and_truncations_each_is_found_and_the_file_before_is_used(tmp_path: Path):
    fitted = trainer(tmp_path)
    fitted.fit(Plain(), datamodule=Data())
    for step in (1, 2):
        fitted.save_checkpoint(tmp_path / f"step={step}.ckpt")
    whole, draw = (tmp_path / "step=2.ckpt").read_bytes(), random.Random(0)
    with zipfile.ZipFile(tmp_path / "step=2.ckpt") as archive:
        # inside the content of records: elsewhere a bit may mean nothing
        spans = [(whole.index(archive.read(e)), e.file_size) for e in archive.infolist() if e.file_size > 15]
    used = []
    for i in range(200):
        damaged = bytearray(whole)
        if i % 2:
            del damaged[draw.randrange(len(whole)) :]
        else:
            start, length = draw.choice(spans)
            damaged[start + draw.randrange(length)] ^= 1 << draw.randrange(8)
        (tmp_path / "step=2.ckpt").write_bytes(damaged)
        path, skipped = lt_checkpoint.last_good(lt_checkpoint.newest(tmp_path))
        used.append((Path(path).name, list(skipped)))
        if i < 4:
            DOORS["fit from the last one"](str(tmp_path / "step=2.ckpt"))
    assert used == [("step=1.ckpt", [str(tmp_path / "step=2.ckpt")])] * 200


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "index"])
def test_damaged_shards_are_found_and_the_folder_before_is_used(tmp_path: Path, damage: str):
    name = f"__{'0' * 16}_0_0.distcp"
    for step in (1, 2):
        folder = tmp_path / f"step={step}.ckpt"
        folder.mkdir()
        torch.save(torch.zeros(1000), folder / name)
        size, crc = lt_checkpoint.shards.measured(folder / name)
        chunk = [[0], [1000], name, 0, size]
        tensors = [{"path": ["w"], "dtype": torch.float32, "size": [1000], "chunks": [chunk]}]
        index = {"files": {name: {"bytes": size, "crc32": crc}}, "tensors": tensors}
        lt_checkpoint.save({"global_step": step, "w": None, "lt_shards": index}, folder / "meta.pt")
    draw = random.Random(0)
    victim = tmp_path / "step=2.ckpt" / ("meta.pt" if damage == "index" else name)
    whole = victim.read_bytes()
    for _ in range(50):
        place = draw.randrange(len(whole) // 4, len(whole) // 2)
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        victim.write_bytes(whole[:place] if damage in ("cut", "index") else flipped)
        if damage == "missing":
            victim.unlink()
        path, _ = lt_checkpoint.last_good(lt_checkpoint.newest(tmp_path))
        assert Path(path).name == "step=1.ckpt"
