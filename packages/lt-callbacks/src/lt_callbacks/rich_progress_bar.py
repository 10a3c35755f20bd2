"""A bar in colour, drawn by rich."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from lt_interfaces import Trainer

from lt_callbacks.line_progress_bar import lines_of
from lt_callbacks.progress_bar import NEVER, ProgressBar, can_draw


@dataclass(kw_only=True, slots=True)
class RichProgressBarTheme:
    """Styles of the parts of the bar, as rich spells them."""

    description: str = ""
    progress_bar: str = "cyan"
    progress_bar_finished: str = "cyan"
    progress_bar_pulse: str = "cyan"
    batch_progress: str = ""
    time: str = "dim"
    processing_speed: str = "dim underline"
    metrics: str = ""
    metrics_text_delimiter: str = " "
    metrics_format: str = ".3f"


class RichProgressBar(ProgressBar):
    """A bar redrawn `refresh_rate` times a second at most, 0 shows nothing; needs `lt-callbacks[rich]`.

    `leave` keeps the bar of each finished epoch; `console_kwargs` go to `rich.console.Console`. Where standard error is
    no terminal it gets lines, unless `console_kwargs` say `file` or `force_terminal`.
    """

    def __init__(
        self,
        refresh_rate: int = 10,
        leave: bool = False,
        theme: RichProgressBarTheme | None = None,
        console_kwargs: dict[str, Any] | None = None,
    ) -> None:
        try:
            import rich.progress
        except ImportError as error:
            raise ImportError("`RichProgressBar` needs rich. Install it: pip install 'lt-callbacks[rich]'.") from error
        if refresh_rate < 0:
            raise ValueError(f"`refresh_rate` must not be negative, got {refresh_rate!r}. Use 0 to show nothing.")
        super().__init__()
        if refresh_rate == 0:
            self.disable()
        self._rich = rich.progress
        self.refresh_seconds = 1 / max(refresh_rate, 1)
        self.leave = leave
        self.theme = theme or RichProgressBarTheme()
        self._console_kwargs = {"stderr": True, **(console_kwargs or {})}
        self._is_told = not {"file", "force_terminal"}.isdisjoint(self._console_kwargs)
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}

    def configure_columns(self, trainer: Any) -> list[Any]:
        """The columns, as `rich.progress.Progress` takes them; override to show others."""
        theme, rich = self.theme, self._rich

        def styled(style: str, text: str) -> Any:
            return rich.TextColumn(f"[{style}]{text}" if style else text)

        return [
            styled(theme.description, "{task.description}"),
            rich.BarColumn(
                style="bar.back",
                complete_style=theme.progress_bar,
                finished_style=theme.progress_bar_finished,
                pulse_style=theme.progress_bar_pulse,
            ),
            styled(theme.batch_progress, "{task.fields[count]}"),
            rich.TimeElapsedColumn(),
            styled(theme.time, "<"),
            rich.TimeRemainingColumn(),
            styled(theme.processing_speed, "{task.fields[rate]}"),
            styled(theme.metrics, "{task.fields[metrics]}"),
        ]

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not self._is_told and not can_draw(sys.stderr):
            self._display = lines_of(self, trainer, pl_module, stage)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        if self._progress is None:
            super().print(*args, **kwargs)
        else:
            self._progress.console.print(*args, **{"highlight": False, "markup": False, "soft_wrap": True, **kwargs})

    def _open(self, stage: str, description: str, total: float, done: int = 0) -> None:
        if self._progress is None:
            from rich.console import Console

            console = Console(**self._console_kwargs)
            self._progress = self._rich.Progress(
                *self.configure_columns(self._trainer), console=console, auto_refresh=False
            )
            self._progress.start()
        if stage in self._tasks and not (stage == "train" and self.leave):
            self._progress.remove_task(self._tasks[stage])
        self._tasks[stage] = self._progress.add_task(
            description, total=None if total == NEVER else total, completed=done, count="", rate="", metrics=""
        )
        self._draw(stage, done)

    def _draw(self, stage: str, done: int) -> None:
        task = next(t for t in self._progress.tasks if t.id == self._tasks[stage])
        self._progress.update(
            task.id,
            completed=done,
            count=f"{done}" if task.total is None else f"{done}/{int(task.total)}",
            rate=f"{task.speed:.1f} it/s" if task.speed else "",
            metrics=self._metrics_text() if stage == "train" else "",
            refresh=True,
        )

    def _metrics_text(self) -> str:
        form = self.theme.metrics_format
        return self.theme.metrics_text_delimiter.join(
            f"{k}: {v:{form}}" if isinstance(v, float) else f"{k}: {v}" for k, v in self._metrics.items()
        )

    def _close(self, stage: str, done: int) -> None:
        self._draw(stage, done)
        alone = "train" not in self._tasks
        if stage != "train" and not alone:
            self._progress.remove_task(self._tasks.pop(stage))
            self._draw("train", self._done)
        elif stage == "sanity":
            self._progress.remove_task(self._tasks.pop(stage))
        elif alone:
            self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._tasks = None, {}

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._display is not self:
            self._display.on_train_end(trainer, pl_module)
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leave the bar where it is, so that the message starts on a line of its own."""
        if self._display is not self:
            self._display.on_exception(trainer, pl_module, exception)
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._stop()
