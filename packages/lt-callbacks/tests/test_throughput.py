from types import SimpleNamespace

import pytest
import torch
from lt_callbacks import Throughput, ThroughputMonitor, get_available_flops, measure_flops
from lt_callbacks.flops import peak
from torch import nn


def test_rates_are_those_of_the_window():
    throughput = Throughput(available_flops=100, window_size=2)
    for i in range(4):
        throughput.update(time=i * i + 1.0, batches=i, samples=8 * i, lengths=80 * i, flops=250)
    assert throughput.compute() == {
        "time": 10.0, "batches": 3, "samples": 24, "lengths": 240, "device/batches_per_sec": 0.2,
        "device/samples_per_sec": 1.6, "device/items_per_sec": 16.0, "device/flops_per_sec": 50.0, "device/mfu": 0.5,
    }  # fmt: skip


def test_several_processes_have_rates_together():
    throughput = Throughput(world_size=4, separator="-")
    assert throughput.compute() == {}
    throughput.update(time=0.0, batches=0, samples=0)
    throughput.update(time=2.0, batches=2, samples=4)
    metrics = throughput.compute()
    assert (metrics["device-samples_per_sec"], metrics["samples_per_sec"]) == (2.0, 8.0)
    throughput.reset()
    assert throughput.compute() == {}


@pytest.mark.parametrize("wrong", [{"time": 1.0}, {"batches": 0}, {"samples": 0}])
def test_totals_must_grow(wrong):
    throughput = Throughput()
    throughput.update(time=1.0, batches=1, samples=1)
    with pytest.raises(ValueError, match="totals since the start"):
        throughput.update(**{"time": 2.0, "batches": 2, "samples": 2, **wrong})


def test_a_window_of_one_is_refused():
    with pytest.raises(ValueError, match="`window_size=1`"):
        Throughput(window_size=1)


def test_flops_are_counted_forward_and_backward():
    with torch.device("meta"):
        model, x = nn.Linear(8, 4), torch.randn(2, 8)
    assert measure_flops(model, lambda: model(x)) == 2 * 2 * 8 * 4
    assert measure_flops(model, lambda: model(x), torch.Tensor.sum) == 2 * (2 * 2 * 8 * 4)


def test_peaks_are_known_by_chip_and_dtype():
    assert peak("NVIDIA H200", torch.bfloat16) == pytest.approx(989.4e12)
    assert peak("NVIDIA H100 PCIe", torch.bfloat16) == pytest.approx(756e12)
    assert peak("NVIDIA A100-SXM4-40GB", torch.float32) == pytest.approx(19.5e12)
    assert peak("NVIDIA T4", torch.bool) is None
    assert peak("some other", torch.float32) is None
    assert get_available_flops(torch.device("cpu"), torch.float32) is None


def test_training_is_logged_in_the_logged_steps(loop_of, small):
    small.flops_per_batch = lambda: 10
    monitor = ThroughputMonitor(len, length_fn=torch.numel, available_flops=1.0)
    records = loop_of(small, monitor).fit().records
    assert [r["step"] for r in records] == [2, 4]
    assert records[-1]["train/samples"] == 8
    assert records[-1]["train/lengths"] == 32
    assert records[-1]["train/device/mfu"] == records[-1]["train/device/flops_per_sec"] > 0


@pytest.mark.parametrize("stage", ["validation", "test", "predict"])
def test_each_stage_has_rates_of_its_own(loop_of, small, stage):
    loop = loop_of(small, ThroughputMonitor(len))
    loop.call(f"on_{stage}_start")
    for i in range(3):
        loop.call(f"on_{stage}_batch_end", None, torch.zeros(2), i)
    loop.call(f"on_{stage}_end")
    prefix = "validate" if stage == "validation" else stage
    assert [r[f"{prefix}/batches"] for r in loop.records] == [2, 3]


def test_validation_does_not_count_for_training(loop_of, small, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("lt_callbacks.throughput_monitor.perf_counter", lambda: float(next(clock)))
    loop = loop_of(small, ThroughputMonitor(len)).start()
    loop.call("on_validation_start")
    for _ in range(50):
        next(clock)
    loop.call("on_validation_end")
    loop.global_step = 2
    loop.call("on_train_batch_end", None, torch.zeros(2), 0)
    assert loop.records[-1]["train/time"] < 5


def test_the_precision_decides_the_peak(small):
    from lt_callbacks.throughput_monitor import compute_dtype

    engine = SimpleNamespace(precision=SimpleNamespace(precision="bf16-mixed"))
    assert compute_dtype(SimpleNamespace(engine=engine), small) is torch.bfloat16
    assert compute_dtype(SimpleNamespace(engine=None), small) is torch.float32
