"""What lets a training that was stopped go on as if it had not been."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint


class LastCheckpoint(ModelCheckpoint):  # type: ignore[misc]  # Lightning is untyped here
    """Keeps `last.ckpt` in a folder: the state at the start of a training, and after each of its epochs.

    A resumed training repeats the epoch in which it was stopped: within one, Lightning keeps neither the
    place in the data nor what was logged, and weights may be half updated.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where nothing is resumed."""
        super().on_train_start(trainer, pl_module)
        if not trainer.ckpt_path and not trainer.fast_dev_run:
            trainer.save_checkpoint(Path(self.dirpath) / "last.ckpt", weights_only=False)


class RandomStates(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Keeps the states of random generators in checkpoints, as plain values."""

    def state_dict(self) -> dict[str, Any]:
        """Give the states of Python's, NumPy's and torch's generators."""
        name, keys, *rest = np.random.get_state(legacy=True)
        return {
            "python": random.getstate(),
            "numpy": (name, keys.tolist(), *rest),  # type: ignore[union-attr]
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on drawing where the states were taken."""
        random.setstate(state_dict["python"])
        np.random.set_state(state_dict["numpy"])
        torch.set_rng_state(state_dict["torch"])
        if len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state_dict["cuda"])
