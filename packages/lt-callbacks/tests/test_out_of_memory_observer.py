import logging

import pytest
import torch
from lt_callbacks import OutOfMemoryObserver
from lt_callbacks.out_of_memory_observer import is_out_of_memory


def test_the_report_tells_what_holds_memory_in_which_batch(loop_of, small, tmp_path, caplog):
    loop = loop_of(small, OutOfMemoryObserver()).start()
    loop.epoch()
    loop.call("on_train_batch_start", {"x": torch.zeros(3, 5)}, 4)
    loop.call("on_exception", torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    text = (tmp_path / "out_of_memory_rank0.txt").read_text()
    assert "Tried to allocate 2 GiB" in text
    assert "epoch 0, step 4, batch 4" in text
    assert "[3, 5] torch.float32" in text
    assert "On the CPU: this process held" in text
    assert "Where it was" in caplog.text


def test_torchs_own_error_on_the_cpu_is_known():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(MemoryError())


def test_other_exceptions_leave_nothing(loop_of, small, tmp_path):
    loop_of(small, OutOfMemoryObserver()).start().call("on_exception", ValueError("out of memory"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_hides_no_exception(loop_of, small, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    caplog.set_level(logging.WARNING, "lt")
    loop_of(small, OutOfMemoryObserver(tmp_path / "file")).start().call("on_exception", MemoryError())
    assert "could not be written" in caplog.text
