import pytest
import torch
from lt_accel import (
    Accelerator,
    AcceleratorRegistry,
    CPUAccelerator,
    CUDAAccelerator,
    Fabric,
    MPSAccelerator,
    StrategyRegistry,
)
from lt_accel.registry import Registry
from lt_accel.strategies import DDPStrategy, SingleDeviceStrategy
from lt_interfaces import MisconfigurationException

no_gpu = pytest.mark.skipif(torch.cuda.device_count() > 0, reason="is about a machine without a GPU")


@no_gpu
@pytest.mark.parametrize("name", ["gpu", "cuda"])
def test_a_gpu_that_is_not_there_is_answered_with_what_is(name):
    with pytest.raises(MisconfigurationException, match=r"no CUDA GPU; available: cpu\. Pass one of these, or 'auto'"):
        Fabric(accelerator=name)


@no_gpu
def test_gpu_indices_that_are_not_there_are_named():
    with pytest.raises(MisconfigurationException, match=r"devices='0,1'.*are \[\]"):
        CUDAAccelerator.parse_devices("0,1")


def test_auto_is_one_process_on_the_best_device():
    engine = Fabric(devices=1)
    assert engine.accelerator.is_available()
    assert isinstance(engine.strategy, SingleDeviceStrategy)


@pytest.mark.parametrize("devices", [2, "2"])
def test_several_cpu_devices_are_as_many_processes(devices):
    engine = Fabric(accelerator="cpu", devices=devices)
    assert isinstance(engine.strategy, DDPStrategy)
    assert (engine.world_size, engine.global_rank, engine.device) == (2, 0, torch.device("cpu"))
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("devices", "error"),
    [(0, ValueError), ([0], ValueError), ("x", TypeError), (1.5, TypeError), (True, TypeError)],
)
def test_devices_that_make_no_sense_are_refused(devices, error):
    with pytest.raises(error, match="`devices`"):
        Fabric(accelerator="cpu", devices=devices)


def test_mps_has_one_device():
    assert MPSAccelerator.parse_devices("1") == [0]
    with pytest.raises(MisconfigurationException, match="one device"):
        MPSAccelerator.parse_devices(2)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean `gpu`"):
        Fabric(accelerator="gpuu")
    with pytest.raises(ValueError, match="Did you mean `ddp_spawn`"):
        Fabric(accelerator="cpu", strategy="ddp_spwan")
    with pytest.raises(TypeError, match="find_unused_parameters"):
        DDPStrategy(find_unused_parameter=True)
    with pytest.raises(ValueError, match="Did you mean `spawn`"):
        DDPStrategy(start_method="spwan")
    with pytest.raises(TypeError, match="`strategy` must be"):
        Fabric(accelerator="cpu", strategy=3)
    with pytest.raises(TypeError, match="`accelerator` must be"):
        Fabric(accelerator=3)


def test_one_device_strategy_refuses_several():
    with pytest.raises(MisconfigurationException, match="single_device"):
        Fabric(accelerator="cpu", devices=2, strategy="single_device")
    with pytest.raises(MisconfigurationException, match="MPS"):
        DDPStrategy().connect(MPSAccelerator(), [torch.device("mps", 0)] * 2, 1, None)


def test_all_names_of_ddp_are_known():
    for name in ("ddp", "ddp_spawn", "ddp_fork", "ddp_notebook"):
        for suffix in ("", "_find_unused_parameters_true", "_find_unused_parameters_false"):
            assert isinstance(StrategyRegistry.get(name + suffix), DDPStrategy)
    assert {"single_device", "ddp"} <= set(StrategyRegistry.available_strategies())


def test_an_accelerator_of_somebody_elses_is_taken_by_name():
    @AcceleratorRegistry.register("meta-device")
    class Meta(CPUAccelerator):
        label = "meta-device"

        @staticmethod
        def get_parallel_devices(devices):
            return [torch.device("meta")]

    try:
        assert Fabric(accelerator="meta-device").device.type == "meta"
        with pytest.raises(ValueError, match="registered already"):
            AcceleratorRegistry.register("meta-device", Meta)
    finally:
        AcceleratorRegistry.remove("meta-device")
    assert isinstance(Fabric(accelerator=CPUAccelerator()).accelerator, Accelerator)


def test_entry_points_are_found_when_a_name_is_asked_for(tmp_path, monkeypatch):
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lt.accelerators]\nordered = collections:OrderedDict\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry("accelerator", "lt.accelerators")
    assert "ordered" in registry.names()
    assert type(registry.get("ordered")).__name__ == "OrderedDict"


def test_an_interactive_session_gets_one_process_and_no_scripts(monkeypatch):
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    assert Fabric(accelerator="cpu").world_size == 1
    assert Fabric(accelerator="cpu", devices=2).strategy.start_method == "fork"
    with pytest.raises(MisconfigurationException, match="ddp_notebook"):
        Fabric(accelerator="cpu", devices=2, strategy="ddp")


def test_cpu_statistics_are_percentages_or_name_the_extra():
    try:
        import psutil  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"lt-accel\[psutil\]"):
            CPUAccelerator().get_device_stats(torch.device("cpu"))
    else:
        assert 0 < CPUAccelerator().get_device_stats(torch.device("cpu"))["cpu_vm_percent"] <= 100


@pytest.mark.gpu
def test_counting_gpus_starts_none():
    assert CUDAAccelerator.parse_devices(-1) == list(range(torch.cuda.device_count()))
    assert Fabric(accelerator="gpu", devices="0,").device == torch.device("cuda", 0)
