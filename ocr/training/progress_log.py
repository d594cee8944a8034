"""How a training is going, as lines of a log."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytorch_lightning as pl

log = logging.getLogger(__name__)


class LossLines(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Logs the mean loss of the steps since the last line, every so many seconds and with each H-mean."""

    def __init__(self, every_s: float = 15.0) -> None:
        self.every_s = every_s

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began = self._told = time.perf_counter()
        self._loss, self._steps = 0.0, 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a step's loss, on its device; it waits for that only where a line is due."""
        self._loss += outputs["loss"] * trainer.accumulate_grad_batches  # which Lightning has divided by
        self._steps += 1
        if time.perf_counter() - self._told >= self.every_s:
            self._tell(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the H-mean: by now the metrics are computed and logged."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._tell(trainer, f"H-mean {float(trainer.callback_metrics['val/hmean']):.3f}")

    def _tell(self, trainer: pl.Trainer, *found: str) -> None:
        self._told = time.perf_counter()
        if self._steps:
            found = (f"loss {float(self._loss) / self._steps:.3f}", *found)
        self._loss, self._steps = 0.0, 0
        if trainer.is_global_zero:
            log.info(
                "epoch %d, step %d of %d, %.0f s: %s",
                trainer.current_epoch,
                trainer.global_step,
                trainer.estimated_stepping_batches,
                self._told - self._began,
                ", ".join(found),
            )
