"""A dict whose keys are also attributes: how hyperparameters read in user code."""

from typing import Any

from lt_interfaces import did_you_mean


class AttributeDict(dict[str, Any]):
    """A dict with its keys as attributes too; `repr` lists them sorted, one per line.

    >>> hparams = AttributeDict(lr=0.1)
    >>> hparams.lr
    0.1
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"There is no `{name}` here. {did_you_mean(name, map(str, self))}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"There is no `{name}` to delete. {did_you_mean(name, map(str, self))}")
        del self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *map(str, self)]

    def __repr__(self) -> str:
        return "\n".join(f"{key!r}: {self[key]!r}" for key in sorted(self, key=str))
