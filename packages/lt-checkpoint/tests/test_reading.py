"""Reading runs nothing, whoever wrote the file, and says what is wrong."""

import importlib
import os
import pickle
import subprocess
import sys
import warnings
import zipfile

import pytest
import torch
from lt_checkpoint import CheckpointError, UnsafeCheckpoint, load, load_unsafe, save, verify

FORBIDDEN = ("exec", "compile", "import", "os.", "subprocess.", "socket.", "shutil.", "pickle.find_class", "ctypes.")
events: list[str] = []
armed = False


def listen(event, args):
    if armed and (event.startswith(FORBIDDEN) or (event == "open" and str(args[1]).startswith(("w", "a", "x")))):
        events.append(f"{event} {args}")


sys.addaudithook(listen)


class Reduced:
    """Pickles as a call of anything with any arguments."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def payloads(marker):
    shell, code = f"touch {marker}", f"open({str(marker)!r}, 'w')"
    opened = Reduced(getattr, (Reduced(importlib.import_module, ("os",)), "system"))
    return {
        "system": Reduced(os.system, (shell,)),
        "eval": Reduced(eval, (code,)),
        "exec": Reduced(exec, (code,)),
        "popen": Reduced(subprocess.Popen, (["touch", str(marker)],)),
        "getattr": Reduced(getattr, (opened, "__call__")),
        "open": Reduced(open, (str(marker), "w")),
        "import": Reduced(importlib.import_module, ("antigravity",)),
        "nested": Reduced(torch.storage._load_from_bytes, (pickle.dumps(Reduced(os.system, (shell,))),)),
        "load": Reduced(torch.load, (str(marker),)),
        "partial": Reduced(map, (os.system, [shell])),
        "class": Reduced,
        "allocate": Reduced(bytearray, (10**11,)),
        "tensor": Reduced(torch.Tensor, (10**6, 10**5)),
        "attributes": Reduced(torch._utils._rebuild_parameter_with_state, (torch.ones(1), True, {}, {"x": 1})),
    }


def write_in_every_format(payload, path):
    for protocol in (2, 3, 4, 5):
        torch.save({"state_dict": {}, "x": [payload]}, path, pickle_protocol=protocol)
        yield f"zip {protocol}"
        torch.save({"x": payload}, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
        yield f"legacy {protocol}"
    for protocol in range(6):
        path.write_bytes(pickle.dumps({"x": payload}, protocol))
        yield f"pickle {protocol}"


@pytest.mark.parametrize("name", payloads("").keys())
def test_a_hostile_file_runs_nothing_and_is_refused(tmp_path, name):
    global armed
    marker, path = tmp_path / "marker", tmp_path / "x.ckpt"
    for form in write_in_every_format(payloads(marker)[name], path):
        for read in (load, verify):
            armed = True
            try:
                with pytest.raises(CheckpointError, match=r"x\.ckpt") as caught:
                    read(path)
            finally:
                armed = False
            assert not marker.exists(), form
            assert isinstance(caught.value, UnsafeCheckpoint) or form in ("pickle 0", "pickle 1"), form
    assert events == []


def test_the_audit_hook_hears_what_a_hostile_file_would_do(tmp_path):
    global armed
    torch.save({"x": Reduced(os.system, (f"touch {tmp_path / 'marker'}",))}, tmp_path / "x.ckpt")
    armed = True
    try:
        load_unsafe(tmp_path / "x.ckpt", i_trust_this_file=True)
    finally:
        armed = False
    heard = [event for event in events if event.startswith("os.system")]
    events.clear()
    assert heard
    assert (tmp_path / "marker").exists()


def test_the_message_says_what_was_asked_for_and_how_to_load_it_all_the_same(tmp_path):
    torch.save({"a": Reduced(os.system, ("true",)), "b": Reduced(eval, ("1",))}, tmp_path / "x.ckpt")
    with pytest.raises(UnsafeCheckpoint) as caught:
        load(tmp_path / "x.ckpt")
    assert str(caught.value) == (
        f"`{tmp_path / 'x.ckpt'}` asks for more than plain values and tensors: `__builtin__.eval`, `posix.system`. "
        "Nothing of it was run. If you made this file yourself, "
        "`lt_checkpoint.load_unsafe(path, i_trust_this_file=True)` loads it."
    )


def test_no_other_library_can_widen_what_is_read(tmp_path):
    torch.save({"a": Reduced(eval, ("1",))}, tmp_path / "x.ckpt")
    with torch.serialization.safe_globals([(eval, "builtins.eval")]):
        assert torch.load(tmp_path / "x.ckpt", weights_only=True) == {"a": 1}
        with pytest.raises(UnsafeCheckpoint, match="eval"):
            load(tmp_path / "x.ckpt")


def test_the_unsafe_door_opens_only_when_told_so_and_makes_old_files_safe(tmp_path):
    torch.save({"w": torch.ones(2), "path": tmp_path}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    for answer in (False, 1, "yes"):
        with pytest.raises(ValueError, match="may run any code"):
            load_unsafe(tmp_path / "old.ckpt", i_trust_this_file=answer)
    save(load_unsafe(tmp_path / "old.ckpt", i_trust_this_file=True), tmp_path / "new.ckpt")
    assert load(tmp_path / "new.ckpt")["path"] == str(tmp_path)


def claim_elements(path, claimed):
    """A file whose pickle claims more elements than its record has: torch would read past the end."""
    torch.save({"t": torch.zeros(200, dtype=torch.uint8)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    root = path.stem
    assert records[f"{root}/data.pkl"].count(b"K\xc8") == 2
    lie = b"\x8a\x08" + claimed.to_bytes(8, "little")
    records[f"{root}/data.pkl"] = records[f"{root}/data.pkl"].replace(b"K\xc8", lie)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("claimed", [201, 10**6, 10**15])
def test_a_tensor_larger_than_its_record_is_refused_before_it_is_made(tmp_path, claimed):
    claim_elements(tmp_path / "x.ckpt", claimed)
    with pytest.raises(CheckpointError, match=f"should have {claimed:,} bytes and has 200"):
        load(tmp_path / "x.ckpt")


def test_a_missing_file_is_named_with_the_one_that_was_meant(tmp_path):
    save({}, tmp_path / "epoch=1-step=20.ckpt")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint `.*step=2\.ckpt`. Did you mean `epoch=1-step=20.ckpt`"):
        load(tmp_path / "epoch=1-step=2.ckpt")
    with pytest.raises(FileNotFoundError, match=r"The folder has epoch=1-step=20\.ckpt"):
        load(tmp_path / "zzz.ckpt")
    with pytest.raises(FileNotFoundError, match="no folder"):
        load(tmp_path / "nowhere" / "x.ckpt")


def test_a_folder_and_a_pipe_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="device, pipe or socket"):
        load(tmp_path / "pipe")


def test_files_of_torch_save_are_read_with_parameters_and_settings(tmp_path):
    state = torch.nn.Linear(2, 2).state_dict(keep_vars=True)
    torch.save(state, tmp_path / "weights.pt")
    loaded = load(tmp_path / "weights.pt")
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert isinstance(loaded["weight"], torch.nn.Parameter)


def test_tensors_go_where_they_are_sent_and_a_missing_device_is_not_called_damage(tmp_path):
    save({"w": torch.ones(2)}, tmp_path / "x.ckpt")
    assert load(tmp_path / "x.ckpt", map_location="meta")["w"].is_meta
    assert load(tmp_path / "x.ckpt", map_location=lambda storage, _: storage)["w"].tolist() == [1, 1]
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA") as caught:
            load(tmp_path / "x.ckpt", map_location="cuda")
        assert not isinstance(caught.value, CheckpointError)


def test_reading_warns_of_nothing(tmp_path):
    save({"w": torch.ones(2), "s": torch.eye(2).to_sparse()}, tmp_path / "x.ckpt")
    with warnings.catch_warnings(record=True) as caught:
        load(tmp_path / "x.ckpt")
    assert caught == []
