"""The bar for a terminal or a notebook: one for training, a short-lived one below it while validating."""

import importlib.util
import os
import shutil
import sys
from typing import Any, TextIO

from lt_interfaces import Trainer
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from lt_callbacks.line_progress_bar import lines_of
from lt_callbacks.progress_bar import ProgressBar, can_draw, in_notebook, metrics_text


class Bar(tqdm):  # type: ignore[misc, type-arg, unused-ignore]
    """A tqdm that draws when told to and starts no thread, so that loaders may fork at any time."""

    monitor_interval = 0


class TQDMProgressBar(ProgressBar):
    """A bar redrawn ten times a second at most, and after `refresh_rate` batches at least; 0 shows nothing.

    `process_position` is its line, counted from the cursor; `leave` keeps the bar of each finished epoch. The
    environment variable TQDM_MINITERS raises `refresh_rate`.
    """

    stream: TextIO | None = None
    """Where to draw; None is standard error, which gets lines where it is no terminal and no notebook's."""

    def __init__(self, refresh_rate: int = 1, process_position: int = 0, leave: bool = False) -> None:
        if refresh_rate < 0 or process_position < 0:
            raise ValueError(
                f"`refresh_rate={refresh_rate}` and `process_position={process_position}` must not be negative. "
                "Use `refresh_rate=0` to show nothing."
            )
        super().__init__()
        if refresh_rate == 0:
            self.disable()
        least = os.environ.get("TQDM_MINITERS", "")
        self.refresh_rate = max(refresh_rate, 1, int(least) if least.isdecimal() else 1)
        self.process_position = process_position
        self.leave = leave
        self._bars: dict[str, Any] = {}

    @property
    def train_progress_bar(self) -> Any:
        """The bar of the training epochs; None before and after."""
        return self._bars.get("train")

    @property
    def val_progress_bar(self) -> Any:
        """The bar of the validation or sanity check that runs; else None."""
        return self._bars.get("validation", self._bars.get("sanity"))

    @property
    def test_progress_bar(self) -> Any:
        """The bar of the test that runs; else None."""
        return self._bars.get("test")

    @property
    def predict_progress_bar(self) -> Any:
        """The bar of the prediction that runs; else None."""
        return self._bars.get("predict")

    def init_sanity_tqdm(self) -> Any:
        """The bar of the sanity check; override to draw another."""
        return self._bar(leave=False)

    def init_train_tqdm(self) -> Any:
        """The bar of the training epochs; override to draw another."""
        return self._bar(leave=True)

    def init_validation_tqdm(self) -> Any:
        """The bar of a validation; override to draw another."""
        return self._bar(leave="train" not in self._bars)

    def init_test_tqdm(self) -> Any:
        """The bar of a test; override to draw another."""
        return self._bar(leave=True)

    def init_predict_tqdm(self) -> Any:
        """The bar of a prediction; override to draw another."""
        return self._bar(leave=True)

    def _bar(self, leave: bool) -> Any:
        stream = self.stream or sys.stderr
        kind = _kind_of_bar()
        return kind(
            total=0,
            position=self.process_position + ("train" in self._bars),
            leave=leave,
            file=stream,
            **_width(stream),
            # Beside a short bar there is room for metrics; the notebook's own looks for the bare word.
            bar_format="{l_bar}{bar:10}{r_bar}" if kind is Bar else "{l_bar}{bar}{r_bar}",
            mininterval=0,
            miniters=1,
            delay=1e-9,  # draw when told what to draw, not at once
        )

    def print(self, *args: Any, sep: str = " ", end: str = "\n", file: Any = None, **kwargs: Any) -> None:
        """Print above the bar."""
        Bar.write(sep.join(map(str, args)), file=file or sys.stdout, end=end)

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.stream is None and not can_draw(sys.stderr):
            self._display = lines_of(self, trainer, pl_module, stage)

    def _open(self, stage: str, description: str, total: float, done: int = 0) -> None:
        if stage == "train" and self.leave:
            self._shut("train")
        elif stage != "train" and "train" in self._bars:
            self._draw("train", self._done)
        if stage not in self._bars:
            self._bars[stage] = getattr(self, f"init_{stage}_tqdm")()
        bar = self._bars[stage]
        bar.set_description(description, refresh=False)
        bar.reset(total)
        if done:
            bar.initial = bar.n = bar.last_print_n = done
            bar.refresh()

    def _draw(self, stage: str, done: int) -> None:
        bar = self._bars[stage]
        if stage == "train":
            bar.set_postfix_str(metrics_text(self._metrics, ", "), refresh=False)
        if done > bar.n:
            bar.update(done - bar.n)
        else:
            bar.refresh()

    def _close(self, stage: str, done: int) -> None:
        self._draw(stage, done)
        if stage != "train":
            if "train" not in self._bars or not hasattr(self._bars[stage], "container"):
                self._shut(stage)  # a notebook would show each new one in a new place
            if "train" in self._bars:
                self._bars["train"].unpause()  # time in validation is not time per training batch
                self._draw("train", self._done)

    def _shut(self, stage: str) -> None:
        if stage in self._bars:
            self._bars.pop(stage).close()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._display is not self:
            self._display.on_train_end(trainer, pl_module)
        self._shut("validation")
        self._shut("train")

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leave the bars where they are, so that the message starts on a line of its own."""
        if self._display is not self:
            self._display.on_exception(trainer, pl_module, exception)
        for stage in list(self._bars)[::-1]:
            self._shut(stage)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        for name in list(self._bars)[::-1]:
            self._shut(name)


def _width(stream: TextIO) -> dict[str, Any]:
    """A terminal that says it has no columns, as some containers' do, would not be shown a bar."""
    try:
        known = os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        known = True
    size = shutil.get_terminal_size()
    return {"dynamic_ncols": True} if known else {"ncols": size.columns, "nrows": size.lines}


def _kind_of_bar() -> Any:
    if in_notebook() and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm_notebook  # type: ignore[import-untyped, unused-ignore]

        return tqdm_notebook
    return Bar
