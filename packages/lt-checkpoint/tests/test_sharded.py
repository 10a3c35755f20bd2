"""Folders of shards, written by four processes of a group and read back by two and by none."""

import multiprocessing
import os
import runpy
import signal
import sys
import zlib

import pytest
import torch
import torch.distributed as dist
from lt_checkpoint import CorruptCheckpoint, UnsafeCheckpoint, exists, link, load, newest, remove, save, sharded, verify
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

WHOLE = torch.arange(42.0).reshape(14, 3)


def in_processes(world_size, function, folder):
    """Run `function(mesh, folder)` in forked processes that are a group; the exit codes."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def work(rank):
        torch.set_num_threads(1)
        client = dist.TCPStore("127.0.0.1", store.port, is_master=False, wait_for_workers=False)
        dist.init_process_group("gloo", store=client, rank=rank, world_size=world_size)
        function(init_device_mesh("cpu", (world_size,)), folder)
        dist.destroy_process_group()

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(rank,), daemon=True) for rank in range(world_size)]
    for process in processes:
        process.start()
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


def die_while_writing(mesh, folder):
    from torch.distributed.checkpoint.filesystem import FileSystemWriter

    write_data = FileSystemWriter.write_data

    def killed(self, plan, planner):
        result = write_data(self, plan, planner)
        if dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    FileSystemWriter.write_data = killed
    sharded.save(state_on(mesh, add=1.0), folder)


def test_a_kill_leaves_the_old_checkpoint_or_none_and_the_next_save_cleans_up(written, tmp_path):
    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            link(written, folder)
        assert in_processes(2, die_while_writing, folder)[1] == -signal.SIGKILL
        assert len(list(folder.glob("*.distcp"))) > 4 * (folder.name == "old")
    assert not exists(tmp_path / "new")
    assert torch.equal(load(tmp_path / "old")["state_dict"]["w"], WHOLE)
    assert in_processes(2, write, tmp_path / "new") == [0, 0]
    verify(tmp_path / "new")
    assert len(list((tmp_path / "new").glob("*.distcp"))) == 2


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
