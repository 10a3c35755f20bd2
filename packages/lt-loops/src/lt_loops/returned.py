"""What a run in processes of its own brings back to the process that started it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lt_interfaces import Progress
from torch import Tensor

from lt_loops import rng, state


@dataclass(slots=True)
class Start:
    """Where a run was called: the process, and its generators, which new processes start from."""

    process: int
    generators: dict[str, Any]

    @classmethod
    def here(cls) -> "Start":
        return cls(os.getpid(), rng.capture())

    def is_elsewhere(self) -> bool:
        """True in a process that was started for the run; its generators then continue those of the start."""
        if self.process == os.getpid():
            return False
        rng.restore(self.generators)
        return True


@dataclass(slots=True)
class Returned:
    """Result, weights, counts, metrics and the callbacks' state of rank zero."""

    result: Any
    weights: dict[str, Any] | None
    progress: Progress
    at: str
    status: str
    log_dir: str | None
    records: dict[str, Any]
    callbacks: dict[str, dict[str, Any]]

    @classmethod
    def from_run(cls, trainer: Any, result: Any) -> "Returned | None":
        """Of rank zero; None on the others, which must call as well."""
        finished, logged = _on_cpu(trainer.callback_metrics), _on_cpu(trainer.logged_metrics)
        log_dir = trainer.log_dir
        weights = _weights(trainer.module) if trainer.fn == "fit" else None
        if not trainer.is_global_zero:
            return None
        return cls(
            result,
            weights,
            trainer.progress,
            trainer.fit_loop.at,
            trainer.state.status,
            log_dir,
            {"entries": [], "finished": finished, "logged": logged, "bar": {}},
            {key: callback.state_dict() for key, callback in state.keyed(trainer.callbacks)},
        )

    def take(self, trainer: Any) -> Any:
        """Put everything where it would be if the run had been here; the run's result."""
        if self.weights is not None:
            trainer.module.load_state_dict(self.weights)
            trainer._fitted = trainer.module
        trainer.progress, trainer.fit_loop.at = self.progress, self.at
        trainer.state.status, trainer.stage, trainer._log_dir = self.status, None, self.log_dir
        trainer.recorder.forget()
        trainer.recorder.load_state_dict(self.records, {})
        trainer.take_module_callbacks()
        for key, callback in state.keyed(trainer.callbacks):
            if key in self.callbacks:
                if getattr(callback, "dirpath", "") is None:
                    callback.dirpath = self.callbacks[key].get("dirpath")
                callback.load_state_dict(self.callbacks[key])
        return self.result


def _weights(module: Any) -> dict[str, Any]:
    """Whole, also of a module that is sharded over the ranks; every rank must call."""
    weights = module.state_dict()
    return _on_cpu(
        {key: value.full_tensor() if hasattr(value, "full_tensor") else value for key, value in weights.items()}
    )


def _on_cpu(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.cpu() if isinstance(value, Tensor) else value for key, value in values.items()}
