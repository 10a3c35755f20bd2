"""Names of accelerators and strategies: ours first, then those that other packages announce as entry points."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lt_interfaces import did_you_mean


class Registry:
    """Makes an object from its name; installing a package changes nothing, naming what it brings does."""

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._known: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {}
        self._scanned = False

    def register(
        self,
        name: str,
        factory: Callable[..., Any] | None = None,
        description: str = "",
        override: bool = False,
        **init_params: Any,
    ) -> Any:
        """Make `factory(**init_params)` available under `name`; without a factory, a decorator for one."""
        if factory is None:
            return lambda made: self.register(name, made, description, override, **init_params)
        if name in self._known and not override:
            raise ValueError(
                f"The {self.kind} {name!r} is registered already. Choose another name or pass `override=True`."
            )
        self._known[name] = (factory, init_params, description)
        return factory

    def remove(self, name: str) -> None:
        """Forget a name."""
        del self._known[name]

    def get(self, name: str) -> Any:
        """A new object of that name; ValueError with the nearest known one if there is none."""
        if name not in self._known:
            self._scan()
        if name not in self._known:
            raise ValueError(f"There is no {self.kind} {name!r}. {did_you_mean(name, self._known)}")
        factory, init_params, _ = self._known[name]
        return factory(**init_params)

    def names(self) -> list[str]:
        """All known names, those of installed packages included."""
        self._scan()
        return sorted(self._known)

    available_accelerators = available_strategies = names

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=self.group):
            if point.name not in self._known:
                self._known[point.name] = (lambda p=point: p.load()(), {}, f"from {point.value}")


AcceleratorRegistry = Registry("accelerator", "lt.accelerators")
StrategyRegistry = Registry("strategy", "lt.strategies")


def _own(home: str) -> Callable[..., Any]:
    """Makes what this package has there, which is imported when it is first asked for."""
    point = EntryPoint("", f"lt_accel.{home}", "")
    return lambda **options: point.load()(**options)


for _name, _home, _description in (
    ("cpu", "accelerators:CPUAccelerator", "the CPU"),
    ("cuda", "accelerators:CUDAAccelerator", "NVIDIA and AMD GPUs"),
    ("mps", "accelerators:MPSAccelerator", "the GPU of an Apple computer"),
    ("tpu", "xla:XLAAccelerator", "one TPU core, through torch_xla"),
    ("gpu", "selection:gpu", "CUDA or MPS, whichever is there"),
    ("auto", "selection:best", "a GPU if there is one, else the CPU"),
):
    AcceleratorRegistry.register(_name, _own(_home), _description)

StrategyRegistry.register("single_device", _own("strategies:SingleDeviceStrategy"), "one process on one device")
for _name in ("single_xla", "single_tpu"):
    StrategyRegistry.register(_name, _own("xla:SingleXLAStrategy"), "one process on one XLA device")

_ddp = _own("strategies:DDPStrategy")
for _name, _method in (("ddp", "popen"), ("ddp_spawn", "spawn"), ("ddp_fork", "fork"), ("ddp_notebook", "fork")):
    _description = f"DistributedDataParallel, started by {_method}"
    StrategyRegistry.register(_name, _ddp, _description, start_method=_method)
    for _flag in (True, False):
        StrategyRegistry.register(
            f"{_name}_find_unused_parameters_{str(_flag).lower()}",
            _ddp,
            f"{_description}, that expects unused parameters: {_flag}",
            start_method=_method,
            find_unused_parameters=_flag,
        )

_fsdp = _own("strategies:FSDPStrategy")
StrategyRegistry.register("fsdp", _fsdp, "fully sharded data parallel: torch's fully_shard")
StrategyRegistry.register(
    "fsdp_cpu_offload", _fsdp, "fully sharded, what is not needed kept in the CPU's memory", cpu_offload=True
)

_deepspeed = _own("strategies:DeepSpeedStrategy")
StrategyRegistry.register("deepspeed", _deepspeed, "DeepSpeed's ZeRO, stage 2")
for _stage in (1, 2, 3):
    StrategyRegistry.register(
        f"deepspeed_stage_{_stage}", _deepspeed, f"DeepSpeed's ZeRO, stage {_stage}", stage=_stage
    )
    StrategyRegistry.register(
        f"deepspeed_stage_{_stage}_offload",
        _deepspeed,
        f"DeepSpeed's ZeRO, stage {_stage}, what can be in the CPU's memory",
        stage=_stage,
        offload_optimizer=True,
        offload_parameters=_stage == 3,
    )
