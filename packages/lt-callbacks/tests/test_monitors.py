import gc
import math

import pytest
import torch
from lt_callbacks import ActivationMonitor, DeviceStatsMonitor, GarbageCollectionScheduler, GradientNormMonitor
from lt_interfaces import MisconfigurationException


def test_gradient_norms_are_logged_by_layer_and_in_all(loop_of, small):
    records = loop_of(small, GradientNormMonitor(), num_training_batches=5).fit().records
    assert [r["step"] for r in records] == [2, 4]
    layers = [records[1]["grad_2.0_norm/0"], records[1]["grad_2.0_norm/2"]]
    assert records[1]["grad_2.0_norm_total"] == pytest.approx(math.hypot(*layers))


@pytest.mark.parametrize("p", [1, 2, "inf"])
def test_the_total_is_the_norm_of_all_gradients(loop_of, small, p):
    loop = loop_of(small, GradientNormMonitor(p, per_layer=False), num_training_batches=2).fit()
    every = torch.cat([q.grad.flatten() for q in small.parameters()])
    expected = torch.linalg.vector_norm(every, float(p)).item()
    assert loop.records == [{"step": 2, f"grad_{float(p)}_norm_total": pytest.approx(expected)}]


def test_several_optimizers_add_up(loop_of, small):
    optimizers = [torch.optim.SGD(small[0].parameters(), 0.1), torch.optim.SGD(small[2].parameters(), 0.1)]
    record = loop_of(small, GradientNormMonitor(), optimizers=optimizers).fit().records[0]
    assert {"grad_2.0_norm/0", "grad_2.0_norm/2"} < set(record)


def test_norms_of_no_kind_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        GradientNormMonitor(0)


def test_activations_are_described_in_logged_steps_only(loop_of, small):
    loop = loop_of(small, ActivationMonitor()).fit()
    assert [r["step"] for r in loop.records] == [2, 4]
    y = torch.relu(small[0](loop.batch(3)))
    assert set(loop.records[0]) == {"step"} | {
        f"activations/{n}/{s}" for n in "012" for s in ("mean", "std", "norm", "max", "zeros")
    }
    assert loop.records[1]["activations/1/zeros"] == pytest.approx((y == 0).float().mean().item(), abs=0.4)
    assert not any(m._forward_hooks for m in small.modules())


def test_layers_may_be_chosen_and_must_exist(loop_of, small):
    record = loop_of(small, ActivationMonitor(["2"])).fit().records[0]
    assert set(record) == {"step"} | {f"activations/2/{s}" for s in ("mean", "std", "norm", "max", "zeros")}
    with pytest.raises(MisconfigurationException, match="no submodule"):
        loop_of(small, ActivationMonitor(["3"])).fit()


def test_the_load_of_the_cpu_is_logged_at_both_ends_of_logged_batches(loop_of, small):
    loop = loop_of(small, DeviceStatsMonitor()).fit()
    names = {f"DeviceStatsMonitor.on_train_batch_{end}/cpu_percent" for end in ("start", "end")}
    assert names < set(loop.records[0])
    assert [r["step"] for r in loop.records] == [2, 4]


@pytest.mark.parametrize("stage", ["validation", "test"])
def test_evaluation_is_logged_by_its_batches(loop_of, small, stage):
    loop = loop_of(small, DeviceStatsMonitor(filter_keys=["vm"])).start()
    for i in range(3):
        loop.call(f"on_{stage}_batch_start", None, i)
        loop.call(f"on_{stage}_batch_end", None, None, i)
    prefix = f"DeviceStatsMonitor.on_{stage}_batch"
    assert [set(r) - {"step"} for r in loop.records] == [{f"{prefix}_{e}/cpu_vm_percent" for e in ("start", "end")}] * 2


def test_the_cpu_may_be_left_out_and_a_logger_is_needed(loop_of, small):
    assert loop_of(small, DeviceStatsMonitor(cpu_stats=False)).fit().records == []
    with pytest.raises(MisconfigurationException, match="no logger"):
        loop_of(small, DeviceStatsMonitor(), loggers=[]).fit()


def test_garbage_is_collected_by_steps_and_the_collector_is_as_before(loop_of, small):
    collected, enabled = [], []
    watch = lambda phase, info: collected.append(loop.global_step) if phase == "start" else None  # noqa: E731
    loop = loop_of(small, GarbageCollectionScheduler(3), num_training_batches=7)
    loop.batch = lambda step: enabled.append(gc.isenabled()) or torch.ones(2, 4)
    gc.callbacks.append(watch)
    try:
        loop.fit()
    finally:
        gc.callbacks.remove(watch)
    assert [step for step in collected if 0 < step < 7] == [3, 6]
    assert not any(enabled)
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)


def test_a_failed_run_gives_the_collector_back(loop_of, small):
    loop = loop_of(small, GarbageCollectionScheduler()).start()
    assert not gc.isenabled()
    loop.call("teardown", "fit")
    assert gc.isenabled()
    with pytest.raises(ValueError, match="`every_n_steps`"):
        GarbageCollectionScheduler(0)
