"""What the trainer says to people: lines on standard error, and how a fit ended."""

import logging
import os
import sys
from typing import Any

MOST_METRICS = 6


def summary(trainer: Any, seconds: float) -> str:
    """What a fit has reached, and where its files are."""
    steps = trainer.global_step - trainer.fit_loop.first_step
    reads = trainer.clock.device_reads(trainer)
    reached = f"Trained {steps} steps to epoch {trainer.current_epoch} in {seconds:.1f} s"
    lines = [": ".join(filter(None, (reached, ", ".join(_reached(trainer)))))]
    waits = f"; numbers were read from the device {reads} times" if reads else ""
    lines += [shares + waits for shares in _shares(trainer.clock, seconds)]
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


def _reached(trainer: Any) -> list[str]:
    """The last values: those of the progress bar first, then others, of many only some."""
    names = [name for name in trainer.callback_metrics if not name.endswith("_step")]
    shown = trainer.progress_bar_metrics
    names.sort(key=lambda name: (name not in shown, "/" in name))
    told = [f"{name} {float(trainer.callback_metrics[name]):.4g}" for name in names[:MOST_METRICS]]
    return told + ([f"and {len(names) - MOST_METRICS} more"] if len(names) > MOST_METRICS else [])


def _shares(clock: Any, whole: float) -> list[str]:
    """Where the time went; without a profiler what waiting for data took is estimated from a few batches."""
    if not clock.seconds:
        return []
    rest = max(0.0, whole - sum(clock.seconds.values()))
    if "steps" in clock.seconds:
        shares = {**clock.seconds, "all else": rest}
    else:
        data = rest * (clock.data_share or 0.0)
        shares = {**clock.seconds, "data": data, "steps and all else": rest - data}
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
