"""Batch statistics over all processes, put in and taken out again."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class TorchSyncBatchNorm:
    """Turns the batch norms of a module into `torch.nn.SyncBatchNorm`, which share their statistics, and back."""

    def __init__(self) -> None:
        self._originals: list[tuple[nn.Module, str, nn.Module]] = []

    def apply(self, module: nn.Module) -> None:
        """Replace them in place; parameters and buffers stay the same tensors."""
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                    self._originals.append((parent, name, child))
                    setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]

    def revert(self, module: nn.Module) -> None:
        """Put the original ones back."""
        for parent, name, child in self._originals:
            setattr(parent, name, child)
        self._originals.clear()
