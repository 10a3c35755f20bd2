"""The data hooks, which a module and a data module have in common: loaders, and the way of a batch to the device."""

from typing import Any, NoReturn

import torch
from lt_interfaces import default_hook

from lt_module.transfer import moved


class DataHooks:
    """The four loaders and the three transfer hooks, where their author says nothing else."""

    @default_hook
    def train_dataloader(self) -> Any:
        """The training data: one iterable, or any nesting of them."""
        self._needs("train_dataloader(self)")

    @default_hook
    def val_dataloader(self) -> Any:
        """The validation data: one iterable or several."""
        self._needs("val_dataloader(self)")

    @default_hook
    def test_dataloader(self) -> Any:
        """The test data: one iterable or several."""
        self._needs("test_dataloader(self)")

    @default_hook
    def predict_dataloader(self) -> Any:
        """The data to predict for: one iterable or several."""
        self._needs("predict_dataloader(self)")

    @default_hook
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Change a batch before it is moved."""
        return batch

    @default_hook
    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch; anything with `.to` moves, in dicts, lists, tuples and dataclasses of any depth."""
        return moved(batch, torch.device(device))

    @default_hook
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Change a batch once it is on the device."""
        return batch

    def _needs(self, signature: str) -> NoReturn:
        raise NotImplementedError(signature)
