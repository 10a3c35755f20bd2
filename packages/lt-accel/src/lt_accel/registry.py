"""Names of accelerators and strategies: ours first, then those that other packages announce as entry points."""

from collections.abc import Callable
from importlib.metadata import entry_points
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
