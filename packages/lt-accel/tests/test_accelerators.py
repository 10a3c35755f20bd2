from importlib.util import find_spec

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
    XLAAccelerator,
    devices,
)
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


@pytest.mark.parametrize(
    ("name", "words"),
    [("dp", "'ddp'"), ("xla_fsdp", "devices=1")],
)
def test_strategies_that_are_not_there_are_answered_with_what_is(name, words):
    with pytest.raises(MisconfigurationException, match=f"strategy='{name}'` is .*{words}"):
        Fabric(accelerator="cpu", devices=2, strategy=name)
    assert name not in StrategyRegistry.names()


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


@pytest.mark.parametrize("registry", [AcceleratorRegistry, StrategyRegistry])
def test_every_name_of_ours_leads_to_something_or_to_what_is_missing(registry):
    found = {}
    for name in registry._known:
        try:
            found[name] = registry.get(name)
        except ImportError as error:
            found[name] = "pip install" in str(error)
    assert all(found.values())


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


PLUG = """
from lt_accel import CPUAccelerator


class Abacus(CPUAccelerator):
    label = "abacus"
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that brings an accelerator and one that cannot be imported, as pip would have installed it."""
    (tmp_path / "abacus.py").write_text(PLUG)
    info = tmp_path / "abacus-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: abacus\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lt.accelerators]\nabacus = abacus:Abacus\nbroken = absent:Absent\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    known = dict(AcceleratorRegistry._known)
    monkeypatch.setattr(AcceleratorRegistry, "_scanned", False)
    monkeypatch.setattr(AcceleratorRegistry, "_known", known)


@pytest.mark.usefixtures("installed")
def test_an_installed_package_brings_an_accelerator_that_trains_once_it_is_named():
    assert Fabric(devices=1).accelerator.name() != "abacus"
    engine = Fabric(accelerator="abacus", devices=1)
    assert type(engine.accelerator).__module__ == "abacus"
    model = engine.setup(torch.nn.Linear(2, 1))
    engine.backward(model(torch.ones(1, 2)).sum())
    assert model.weight.grad is not None


@no_gpu
@pytest.mark.usefixtures("installed")
def test_what_is_installed_is_listed_and_what_cannot_be_imported_is_not():
    with pytest.raises(MisconfigurationException, match="available: abacus, cpu"):
        Fabric(accelerator="gpu")
    with pytest.raises(ModuleNotFoundError, match="absent"):
        Fabric(accelerator="broken")
    with pytest.raises(ValueError, match="Did you mean `abacus`"):
        Fabric(accelerator="abacuss")


@pytest.mark.skipif(find_spec("torch_xla") is not None, reason="is about its absence")
def test_a_tpu_says_what_to_install():
    with pytest.raises(ImportError, match=r"pip install 'lt-accel\[tpu\]'"):
        Fabric(accelerator="tpu")
    with pytest.raises(MisconfigurationException, match="one TPU core"):
        XLAAccelerator.parse_devices(8)


def test_each_device_says_its_name_and_memory():
    *_, cpu = devices()
    assert cpu.device == torch.device("cpu")
    assert "cores" in cpu.name
    assert cpu.memory_bytes is None or 0 < (cpu.free_bytes or 1) < cpu.memory_bytes
    assert len(devices()) >= 1 + torch.cuda.device_count()


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


@pytest.mark.gpu
def test_a_gpu_says_its_name_and_memory():
    gpu = devices()[0]
    assert gpu.device == torch.device("cuda", 0)
    assert 0 < gpu.free_bytes <= gpu.memory_bytes


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="DeepSpeed is installed")
def test_deepspeed_where_it_is_not_installed_is_an_error_with_the_command():
    with pytest.raises(ImportError, match=r"pip install 'lt-accel\[deepspeed\]'"):
        Fabric(accelerator="cpu", devices=2, strategy="deepspeed_stage_3_offload")
