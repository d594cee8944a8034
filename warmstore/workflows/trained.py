"""A trained detector as it was trained: its checkpoint, and the configuration that its run wrote down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ocr.training import existing_checkpoint
from pipeline.errors import ConfigError
from warmstore.configuration import RunConfig, load_config

if TYPE_CHECKING:
    from ocr.training import DetectorModule

_CANVAS = tuple(("stages", stage, "canvas") for stage in ("decode", "maps", "tensors"))


def kept_config(checkpoint: Path, overrides: Sequence[str] = ()) -> RunConfig | None:
    """Load the configuration that a checkpoint's training kept beside it, with `overrides`; None without one.

    Raises ConfigError where there is no checkpoint, or its settings are not those of this version.
    """
    file = existing_checkpoint(checkpoint).resolve().parent.parent / "config.json"
    try:
        kept = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); give --config RUN instead") from None
    nested: dict[str, Any] = {}
    for key, value in kept.items():
        *above, name = key.split(".")
        if above[:1] == ["stores"] or (*above, name) in _CANVAS:
            continue  # of what it was trained on, and what `canvas` sets
        inner = nested
        for part in above:
            inner = inner.setdefault(part, {})
        inner[name] = value
    with TemporaryDirectory() as folder:
        run = Path(folder) / f"{file.parent.name}.yaml"
        run.write_text(json.dumps(nested))  # which is YAML, too
        return load_config(str(run), overrides)[0]


def loaded_detector(config: RunConfig, checkpoint: Path) -> DetectorModule:
    """Load a detector, as a run configures it, onto the GPU where there is one."""
    import torch

    from ocr.training import DetectorModule

    module = DetectorModule.from_checkpoint(checkpoint, config.detector_settings)
    module.to("cuda" if torch.cuda.is_available() else "cpu")
    return module
