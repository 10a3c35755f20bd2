"""Folders of shards, written by four processes of a group and read back by two and by none."""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import zlib
from threading import Event, Timer

import pytest
import torch
import torch.distributed as dist
from fsspec.implementations.memory import MemoryFileSystem
from lt_checkpoint import (
    AsyncCheckpointIO,
    CorruptCheckpoint,
    UnsafeCheckpoint,
    agreement,
    exists,
    link,
    load,
    newest,
    remove,
    save,
    shard_writing,
    sharded,
    verify,
)
from lt_checkpoint.shard_writing import ShardedSave
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

WHOLE = torch.arange(42.0).reshape(14, 3)


def in_processes(world_size, function, folder):
    """Run `function(mesh, folder)` in forked processes that are a group; the exit codes."""
    door = socket.create_server(("127.0.0.1", 0))

    def work(rank):
        torch.set_num_threads(1)
        served = {"is_master": True, "master_listen_fd": door.fileno()} if rank == 0 else {"is_master": False}
        store = dist.TCPStore("127.0.0.1", door.getsockname()[1], wait_for_workers=False, **served)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
        del store  # the group has it, to its end
        function(init_device_mesh("cpu", (world_size,)), folder)
        dist.destroy_process_group()

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(rank,), daemon=True) for rank in range(world_size)]
    for process in processes:
        process.start()
    door.close()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("lt_checkpoint", run_name="__main__")
    return caught.value.code


def state_on(mesh, add=0.0):
    spread = distribute_tensor(WHOLE + add, mesh, [Shard(0)])
    return {
        "state_dict": {"w": spread, "copy": distribute_tensor(torch.ones(2), mesh, [Replicate()]), "b": torch.zeros(3)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": spread.to(torch.bfloat16)}}}],
        "betas": (0.9, 0.99),
        "global_step": 7,
    }


def write(mesh, folder):
    sharded.save(state_on(mesh), folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "step=7.ckpt"
    assert in_processes(4, write, folder) == [0] * 4
    return folder


def test_four_ranks_write_what_one_process_reads_in_full(written):
    state = load(written)
    assert torch.equal(state["state_dict"]["w"], WHOLE)
    assert torch.equal(state["optimizer_states"][0]["state"][0]["exp_avg"], WHOLE.bfloat16())
    assert state["optimizer_states"][0]["state"][0]["step"] == 3
    assert torch.equal(state["state_dict"]["copy"], torch.ones(2))
    [copy] = (t for t in load(written / "meta.pt")["lt_shards"]["tensors"] if t["path"][-1] == "copy")
    assert len(copy["chunks"]) == 1
    assert (state["betas"], state["global_step"], list(state["state_dict"])) == ((0.9, 0.99), 7, ["w", "copy", "b"])


def read_on_two(mesh, folder):
    like = distribute_tensor(torch.zeros(14, 3), mesh, [Shard(1)])
    mine = sharded.distributed(sharded.load(folder)["state_dict"]["w"], like)
    assert mine.to_local().shape[1] in (1, 2)
    assert torch.equal(mine.full_tensor(), WHOLE)
    assert torch.equal(sharded.distributed(WHOLE, like).full_tensor(), WHOLE)


def test_two_ranks_read_their_parts_cut_another_way(written):
    assert in_processes(2, read_on_two, written) == [0, 0]


def test_a_part_is_read_from_the_files_it_lies_in_alone(written, tmp_path):
    link(written, tmp_path / "x")
    [last] = (tmp_path / "x").glob("__*_3_0.distcp")
    last.unlink()
    tensor = sharded.load(tmp_path / "x")["state_dict"]["w"]
    assert torch.equal(tensor.read([2, 1], [5, 2]), WHOLE[2:7, 1:])
    with pytest.raises(CorruptCheckpoint, match="is missing"):
        tensor.read()


def test_torch_reads_the_folder_too(written, tmp_path):
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    dcp_to_torch_save(written, tmp_path / "plain.pt")
    assert torch.equal(load(tmp_path / "plain.pt")["state_dict.w"], WHOLE)


def test_the_folder_is_a_checkpoint_like_any_other(written, tmp_path, monkeypatch):
    assert exists(written)
    link(written, tmp_path / "last.ckpt")
    save({"global_step": 6}, tmp_path / "step=6.ckpt")
    assert [p.name for p in newest(tmp_path)] == ["last.ckpt", "step=6.ckpt"]
    assert command(monkeypatch, "verify", tmp_path / "last.ckpt") == 0
    assert command(monkeypatch, "consolidate", tmp_path / "last.ckpt", tmp_path / "one.ckpt") == 0
    assert torch.equal(torch.load(tmp_path / "one.ckpt", weights_only=True)["state_dict"]["w"], WHOLE)
    remove(tmp_path / "last.ckpt")
    assert not (tmp_path / "last.ckpt").exists()
    verify(written)


def test_a_changed_byte_is_noticed_before_anything_is_used(written, tmp_path, monkeypatch):
    folder = tmp_path / "x"
    folder.mkdir()
    for path in written.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    shard = min(folder.glob("*.distcp"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CorruptCheckpoint, match="does not match its checksum"):
        load(folder)
    assert command(monkeypatch, "verify", folder) == 1


def test_a_folder_of_another_program_is_refused_with_the_way_out(tmp_path):
    (tmp_path / ".metadata").write_bytes(b"cos\nsystem\n")
    with pytest.raises(UnsafeCheckpoint, match="dcp_to_torch"):
        load(tmp_path)
    save({"epoch": 1}, tmp_path / "meta.pt")
    with pytest.raises(UnsafeCheckpoint, match="dcp_to_torch"):
        sharded.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="without a complete sharded checkpoint"):
        load(tmp_path.parent)


class Command:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


def test_a_shard_that_asks_for_more_than_tensors_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "__0123456789abcdef_0_0.distcp"
    torch.save(Command(), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    tensor = {"path": ["w"], "dtype": torch.float32, "size": [2], "chunks": [[[0], [2], name, 0, len(data)]]}
    files = {name: {"bytes": len(data), "crc32": zlib.crc32(data)}}
    save({"w": None, "lt_shards": {"files": files, "tensors": [tensor]}}, tmp_path / "meta.pt")
    with pytest.raises(UnsafeCheckpoint, match="mkdir"):
        load(tmp_path)
    assert not (tmp_path / "was-run").exists()
    for wrong in ({"files": {"../x": {"bytes": 9**9, "crc32": 0}}, "tensors": []}, {"files": files}, []):
        save({"lt_shards": wrong}, tmp_path / "meta.pt")
        with pytest.raises(CorruptCheckpoint, match="the index"):
            load(tmp_path)


def die_before_the_marker(mesh, folder):
    ShardedSave._commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    sharded.save(state_on(mesh, add=1.0), folder)


def test_a_kill_leaves_the_old_checkpoint_or_none_and_the_next_save_cleans_up(written, tmp_path):
    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            link(written, folder)
        assert -signal.SIGKILL in in_processes(2, die_before_the_marker, folder)
        assert len(list(folder.glob("*.distcp"))) > 4 * (folder.name == "old")
    assert not exists(tmp_path / "new")
    assert torch.equal(load(tmp_path / "old")["state_dict"]["w"], WHOLE)
    assert in_processes(2, write, tmp_path / "new") == [0, 0]
    verify(tmp_path / "new")
    assert len(list((tmp_path / "new").glob("*.distcp"))) == 2


class Gated(AsyncCheckpointIO):
    """Writes its shard when it is told to."""

    def __init__(self):
        super().__init__()
        self.gate = Event()
        write_shard = ShardedSave._write_shard
        ShardedSave._write_shard = lambda save: self.gate.wait(60) and write_shard(save)


def train_while_writing(mesh, folder):
    io, state = Gated(), state_on(mesh)
    sharded.save(state, folder / "step=7.ckpt", checkpoint_io=io)
    state["state_dict"]["w"].to_local().zero_()
    io.link_checkpoint(folder / "step=7.ckpt", folder / "last.ckpt") if mesh.get_rank() == 0 else None
    if mesh.get_rank():
        io.gate.set()
    for _ in range(20):
        dist.all_reduce(torch.ones(3))
    assert (io.exists(folder / "step=7.ckpt"), exists(folder / "step=7.ckpt")) == (True, False)
    io.gate.set()
    sharded.save({**state, "global_step": 8}, folder / "step=8.ckpt", checkpoint_io=io)
    io.flush()
    verify(folder / "step=8.ckpt")


def test_training_goes_on_while_every_rank_writes_what_the_state_was_at_the_call(tmp_path):
    assert in_processes(3, train_while_writing, tmp_path) == [0] * 3
    assert torch.equal(load(tmp_path / "last.ckpt")["state_dict"]["w"], WHOLE)
    assert load(tmp_path / "step=8.ckpt")["state_dict"]["w"].sum() == 0


def leave_while_writing(mesh, folder):
    io = Gated()
    for step in (1, 2):
        sharded.save(state_on(mesh), folder / f"step={step}.ckpt", checkpoint_io=io)
    Timer(0.2 * mesh.get_rank(), io.gate.set).start()


def test_the_end_of_the_group_and_of_the_program_waits_for_the_folders(tmp_path):
    assert in_processes(2, leave_while_writing, tmp_path) == [0, 0]
    for step in (1, 2):
        verify(tmp_path / f"step={step}.ckpt")


def fail_on_one_rank(mesh, folder):
    io, heard = AsyncCheckpointIO(), Event()
    sharded.save(state_on(mesh), folder / "old", checkpoint_io=io)
    io.flush()
    if mesh.get_rank() == 1:
        shard_writing.write_archive = failing
    io.on_error = lambda error: heard.set()
    sharded.save(state_on(mesh), folder / "new", checkpoint_io=io)
    assert heard.wait(60)
    with pytest.raises((OSError, RuntimeError), match="the disk is gone"):
        io.remove_checkpoint(folder / "old") if mesh.get_rank() == 0 else io.flush()
    with pytest.raises((TypeError, RuntimeError), match=r"`checkpoint\['f'\]`, a `builtin_function"):
        sharded.save({"f": print}, folder / "next", checkpoint_io=io)


def failing(*_):
    raise OSError("the disk is gone")


def test_a_shard_that_cannot_be_written_is_an_error_on_every_rank_and_what_was_there_stays(tmp_path):
    assert in_processes(3, fail_on_one_rank, tmp_path) == [0] * 3
    verify(tmp_path / "old")
    assert [path.name for path in tmp_path.glob("*/*") if path.parent.name != "old"] == []


def wait_for_one_that_is_killed(mesh, folder):
    agreement._SILENCE_SECONDS, agreement._BEAT_SECONDS = 0.5, 0.05
    if mesh.get_rank() == 1:
        shard_writing.write_archive = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    io = AsyncCheckpointIO()
    sharded.save(state_on(mesh), folder, checkpoint_io=io)
    with pytest.raises(TimeoutError, match="Rank 1 gave no sign of life"):
        io.flush()


def test_nobody_waits_for_a_rank_that_was_killed_while_it_wrote(tmp_path):
    assert in_processes(2, wait_for_one_that_is_killed, tmp_path / "x") == [0, -signal.SIGKILL]
    assert list((tmp_path / "x").glob("__*")) == []


def go_to_a_store_and_back(mesh, _):
    store, spread = MemoryFileSystem(), state_on(mesh)
    io = AsyncCheckpointIO()
    sharded.save(spread, "memory://run/step=7.ckpt", checkpoint_io=io)
    io.link_checkpoint("memory://run/step=7.ckpt", "memory://run/last.ckpt")
    io.flush()
    sharded.save(spread, "memory://run/last.ckpt")
    assert newest("memory://run") == ["memory://run/step=7.ckpt", "memory://run/last.ckpt"]
    for name in ("step=7", "last"):
        assert torch.equal(load(f"memory://run/{name}.ckpt")["state_dict"]["w"], WHOLE)
    part = sharded.load("memory://run/last.ckpt")["state_dict"]["w"].read([2, 1], [5, 2])
    assert torch.equal(part, WHOLE[2:7, 1:])
    assert len(store.ls("memory://run/last.ckpt")) == 3
    [shard] = store.glob("memory://run/step=7.ckpt/*.distcp")
    store.pipe_file(shard, store.cat_file(shard)[:-1])
    damaged("memory://run/step=7.ckpt", "should have")
    store.rm_file(shard)
    damaged("memory://run/step=7.ckpt", "is missing")
    remove("memory://run/step=7.ckpt")
    store.rm_file("memory://run/last.ckpt/meta.pt")
    assert newest("memory://run", "*7.ckpt") == []
    assert store.glob("memory://run/step=7.ckpt/*") == []


def damaged(path, how):
    for read in (load, verify):
        with pytest.raises(CorruptCheckpoint, match=rf"memory://.*{how}"):
            read(path)


def test_shards_go_to_a_store_and_back_and_what_is_damaged_there_is_found():
    assert in_processes(1, go_to_a_store_and_back, None) == [0]


def test_without_sharded_tensors_or_a_group_there_is_one_file_that_loads(tmp_path):
    sharded.save({"w": WHOLE, "step": 1}, tmp_path / "x")
    sharded.save({"w": WHOLE + 1, "step": 2}, tmp_path / "x")
    assert torch.equal(load(tmp_path / "x")["w"], WHOLE + 1)
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["meta.pt"]


def test_what_is_in_the_way_of_a_folder_stays(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"it holds `thesis\.tex`"):
        sharded.save({}, tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file"):
        sharded.save({}, tmp_path / "thesis.tex")
