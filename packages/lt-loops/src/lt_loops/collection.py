"""Where values are collected: the stretch of the loop, and the names seen in it so far."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lt_loops.entry import Entry


@dataclass(frozen=True, slots=True)
class Scope:
    """A stretch of the loop in which logging has the same defaults and permissions."""

    name: str
    on_step: bool = False
    on_epoch: bool = True
    steps: bool = True
    """False where only epoch values make sense."""
    allowed: bool = True


TRAIN_STEP = Scope("the training step", on_step=True, on_epoch=False)
EVAL_STEP = Scope("the evaluation step")


def closed(place: str) -> Scope:
    """Where nothing can be collected."""
    return Scope(place, allowed=False)


def epoch_scope(hook: str) -> Scope:
    """Logging from a hook that runs once an epoch."""
    return Scope(f"`{hook}`", steps=False)


@dataclass(slots=True)
class Collection:
    """The values of one stage: one dictionary of entries for each loader, one for the hooks outside the batches."""

    stage: str
    loaders: list[dict[str, Entry]] = field(default_factory=lambda: [{}])
    outside: dict[str, Entry] = field(default_factory=dict)
    has_steps: bool = False
    resumed: dict[tuple[bool, str], Entry] = field(default_factory=dict)
    """Entries out of a checkpoint, by whether they are of the hooks and by name, until they are logged again."""

    def each(self, only: dict[str, Entry] | None = None) -> Iterable[tuple[Entry, str]]:
        """Entries with the suffix of their loader; `only` leaves out those of the other loaders."""
        for i, entries in enumerate(self.loaders):
            if only is not None and entries is not only:
                continue
            for entry in entries.values():
                yield entry, f"/dataloader_idx_{i}" if len(self.loaders) > 1 and entry.add_dataloader_idx else ""
        for entry in (*self.outside.values(), *self.resumed.values()):
            yield entry, ""
