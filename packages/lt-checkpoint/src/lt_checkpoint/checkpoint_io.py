"""Where a program's checkpoints go, as an object: subclass it to send them elsewhere."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lt_checkpoint import files
from lt_checkpoint.paths import StrPath
from lt_checkpoint.reading import load
from lt_checkpoint.saving import save
from lt_checkpoint.values import plain

if TYPE_CHECKING:
    from lt_checkpoint.shard_writing import ShardedSave


class CheckpointIO:
    """Saves at once, by this package's functions; what a subclass does not override stays so."""

    on_error: Callable[[BaseException], None] | None = None
    """Called, from whatever thread, when a save fails that has returned already."""

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: StrPath, storage_options: Any = None) -> None:
        """A complete file at `path`, now or, of those that save in the background, once `flush` has returned."""
        if storage_options is not None:
            raise TypeError(
                f"`{type(self).__name__}.save_checkpoint` takes no `storage_options`, got {storage_options!r}. Set "
                "what a remote store needs in the environment or in `fsspec.config`, or subclass `CheckpointIO`."
            )
        save(checkpoint, path)

    def save_shards(self, save: "ShardedSave") -> None:
        """A complete folder of shards, now or once `flush` has returned; every rank must call."""
        save.begin(partial(plain, where="checkpoint"))
        save.write()

    def load_checkpoint(self, path: StrPath, map_location: Any = "cpu") -> dict[str, Any]:
        """What was saved there."""
        return load(path, map_location)

    def remove_checkpoint(self, path: StrPath) -> None:
        """No checkpoint at `path`."""
        files.remove(path)

    def link_checkpoint(self, source: StrPath, target: StrPath) -> None:
        """A second name for a checkpoint."""
        files.link(source, target)

    def exists(self, path: StrPath) -> bool:
        """True for what has been saved, be it still on its way."""
        return files.exists(path)

    def flush(self) -> None:
        """Return when everything is where it belongs; raises what failed."""

    def teardown(self) -> None:
        """Flush and let go of memory; saving again is possible."""
        self.flush()
