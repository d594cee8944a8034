"""Checkpoints that say which detector they hold, read without running any code that is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocr.params import DetectorIdentity
from pipeline.errors import ConfigError


def existing_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Give the path of a checkpoint that is there. Raises ConfigError otherwise."""
    path = Path(path)
    if not path.exists():
        raise ConfigError(f"there is no checkpoint {path}; train first, or name another one")
    return path


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint's plain values and tensors; its `detector` entry says what the weights belong to."""
    import torch  # here, because whether there is a checkpoint is told without it

    path = existing_checkpoint(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler or zip reader meets
        raise ConfigError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(checkpoint, dict) or "detector" not in checkpoint or "state_dict" not in checkpoint:
        raise ConfigError(f"{path} is not a checkpoint of a detector: it does not say which model it holds")
    return checkpoint


def check_identity(stored: Mapping[str, Any] | None, configured: DetectorIdentity) -> None:
    """Hold a checkpoint's `detector` against another; `ConfigError` names each key that differs."""
    wanted = configured.as_json()
    if stored is None:
        raise ConfigError("the checkpoint is not one of a detector: it does not say which model it holds")
    differences = [
        f"{key} {stored.get(key)} → {wanted[key]}" for key in wanted if stored.get(key) != wanted[key]
    ]
    if differences:
        raise ConfigError(
            f"the checkpoint belongs to another detector: {'; '.join(differences)}; "
            "use the configuration that it was trained with, or train anew"
        )
