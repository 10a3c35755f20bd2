"""What the trainer says to people: lines on standard error, and how a fit ended."""

import logging
import os
import sys
from typing import Any


def summary(trainer: Any, seconds: float) -> str:
    """What a fit has reached, and where its files are."""
    reached = [f"{k} {float(v):.4g}" for k, v in trainer.callback_metrics.items() if not k.endswith("_step")]
    steps = trainer.global_step - trainer.fit_loop.first_step
    lines = [f"Trained {steps} steps to epoch {trainer.current_epoch} in {seconds:.1f} s: {', '.join(reached)}"]
    lines += _shares(trainer.clock.seconds, seconds)
    for callback in trainer.checkpoint_callbacks:
        if best := callback.best_model_path:
            score = getattr(callback, "best_model_score", None)
            told = "" if score is None else f" ({callback.monitor} {float(score):.4g})"
            lines.append(f"Best checkpoint: {_from_here(best)}{told}")
        if last := getattr(callback, "last_model_path", ""):
            lines.append(f"Last checkpoint: {_from_here(last)}")
    if trainer.loggers:
        lines.append(f"Logs: {_from_here(str(trainer.log_dir))}")
        report = os.path.join(str(trainer.log_dir), "report.html")
        lines += [f"Curves: {_from_here(report)}"] if os.path.exists(report) else []
    return "\n".join(lines)


def _shares(parts: dict[str, float], whole: float) -> list[str]:
    """Where the time went; data and steps are told apart only under a profiler, since that costs something."""
    if not parts:
        return []
    rest = "all else" if "steps" in parts else "training and all else"
    shares = {**parts, rest: max(0.0, whole - sum(parts.values()))}
    return ["Time: " + ", ".join(f"{part} {100 * seconds / whole:.0f} %" for part, seconds in shares.items())]


def _from_here(path: str) -> str:
    """The path as short as it can be typed."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


class _Stderr(logging.Handler):
    """Prints to whatever standard error is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def let_messages_be_seen() -> None:
    """Let the messages of lt be seen where the program has not set up logging itself."""
    logger = logging.getLogger("lt")
    if not logger.handlers and not logging.getLogger().handlers and logger.level == logging.NOTSET:
        logger.addHandler(_Stderr())
        logger.setLevel(logging.INFO)
