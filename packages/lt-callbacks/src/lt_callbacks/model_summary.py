"""Prints the summary of the module before training."""

from typing import Any

from lt_interfaces import Callback, Trainer

from lt_callbacks.summary import Summary


class ModelSummary(Callback):
    """Prints the layers down to `max_depth` (-1: all, 0: prints nothing), their parameters and the totals.

    `flops` counts the operations of a forward pass too, where the module has an `example_input_array`.
    """

    def __init__(self, max_depth: int = 1, flops: bool = False) -> None:
        if max_depth < -1:
            raise ValueError(f"`max_depth` must be -1 or more, got {max_depth!r}. Use -1 for all levels, 0 for none.")
        self.max_depth, self.flops = max_depth, flops

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.max_depth and trainer.is_global_zero:
            self.summarize(trainer, Summary(pl_module, self.max_depth, self.flops))

    def summarize(self, trainer: Trainer, summary: Summary) -> None:
        """Print it; override to show it elsewhere."""
        trainer.print(summary)


class RichModelSummary(ModelSummary):
    """The same, drawn by rich; needs `lt-callbacks[rich]`."""

    def __init__(self, max_depth: int = 1, flops: bool = False) -> None:
        super().__init__(max_depth, flops)
        try:
            import rich.table
        except ImportError as error:
            raise ImportError("`RichModelSummary` needs rich. Install it: pip install 'lt-callbacks[rich]'.") from error
        self._rich_table = rich.table

    def summarize(self, trainer: Trainer, summary: Summary) -> None:
        from rich.console import Console

        table = self._rich_table.Table(header_style="bold")
        columns = summary.get_summary_data()
        for title, _ in columns:
            table.add_column(title, justify="right" if title in ("Params", "FLOPs") else "left")
        for row in zip(*(cells for _, cells in columns), strict=True):
            table.add_row(*row)
        console = Console()
        with console.capture() as captured:
            console.print(table)
            for label, value in summary.totals():
                console.print(f"[bold]{value:<10}[/] {label}")
        trainer.print(captured.get(), end="")
