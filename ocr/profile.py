"""What a validation epoch spends its time on, measured while it runs."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch

from ocr.datasets.statistics import Statistics


class EpochProfile(L.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Collects a row per validation epoch: wall time, waiting for data, forward pass, cache hits.

    `epochs` is a list of `{"epoch", "wall_s", "data_wait_s", "forward_s", "hits", "misses",
    "samples"}`, seconds; the sanity check is left out. The forward pass is timed on the host; with
    a GPU the device is synchronised around it.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self._began = self._entered = self._forward = 0.0
        self._samples = 0
        self._hooks: list[Any] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, and watch the model's forward pass."""
        self._forward, self._samples = 0.0, 0
        self._hooks = [
            pl_module.model.register_forward_pre_hook(self._enter),
            pl_module.model.register_forward_hook(self._leave),
        ]
        self._began = time.perf_counter()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count samples."""
        self._samples += len(batch["sample_id"])

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's row."""
        wall = time.perf_counter() - self._began
        for hook in self._hooks:
            hook.remove()
        if trainer.sanity_checking:
            return
        read: Statistics = trainer.datamodule.last_epoch("val")
        self.epochs.append(
            {
                "epoch": trainer.current_epoch,
                "wall_s": wall,
                "data_wait_s": read.wait_s,
                "forward_s": self._forward,
                "hits": read.hits,
                "misses": read.misses,
                "samples": self._samples,
            }
        )

    def _enter(self, *_: Any) -> None:
        _finish_device()
        self._entered = time.perf_counter()

    def _leave(self, *_: Any) -> None:
        _finish_device()
        self._forward += time.perf_counter() - self._entered


def _finish_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
