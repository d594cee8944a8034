"""Checkpoints that say which detector they hold, read without running any code that is in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ocr.detectors import DetectorIdentity
from pipeline.errors import ConfigError


def existing_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Give the path of a checkpoint's file that is there. Raises ConfigError otherwise."""
    path = Path(path)
    if path.is_dir():
        raise ConfigError(
            f"{path} is a folder; give a checkpoint's file, such as checkpoints/best.ckpt of a run"
        )
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
        raise ConfigError(
            f"{path} cannot be read as a checkpoint: it is damaged, or holds more than tensors and plain "
            f"values ({type(error).__name__})"
        ) from error
    if not isinstance(checkpoint, dict) or "detector" not in checkpoint or "state_dict" not in checkpoint:
        raise ConfigError(f"{path} is not a checkpoint of a detector: it does not say which model it holds")
    return checkpoint


def stored_identity(
    checkpoint: dict[str, Any], where: str = "the checkpoint", network: object = None
) -> DetectorIdentity:
    """Give what a checkpoint's weights belong to, also one that was written when DBNet was the only detector.

    Raises ConfigError where it does not say, names a detector or a parameter that is not known here, or holds
    a network of somebody's own and no `network` is given.
    """
    if checkpoint.get("detector") is None:
        raise ConfigError(f"{where} is not one of a detector: it does not say which model it holds")
    try:
        identity = DetectorIdentity.model_validate(checkpoint["detector"])
    except ConfigError as error:
        raise ConfigError(f"{where} cannot be loaded: {error}") from None
    except (TypeError, ValidationError) as error:
        raise ConfigError(f"{where} holds a detector that this version does not know: {error}") from None
    if network is None and identity.entry is None:
        raise ConfigError(
            f"{where} holds a network of its author's own, {identity.detector}, which no name stands for: "
            "give DetectorModule.from_checkpoint(path, network=…) one, or register it (warmstore.detectors)"
        )
    return identity


def check_identity(stored: DetectorIdentity, configured: DetectorIdentity) -> None:
    """Hold what a checkpoint belongs to against another; `ConfigError` names each key that differs."""
    if differences := stored.differences(configured):
        raise ConfigError(
            f"the checkpoint belongs to another detector: {'; '.join(differences)}; "
            "use the configuration that it was trained with, or train anew"
        )
