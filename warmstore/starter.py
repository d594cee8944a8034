"""The configuration that a new data set starts with: what its text asks of the canvas, written as YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from warmstore.configuration import DataConfig

CANVASES = (640, 768, 960, 1280, 1600)
"""Multiples of 64, whose planes are whole pages: batches of those are views of the store."""
READABLE = 6.0
"""Pixels on the canvas below which the detector loses text: of SROIE's lines it found 51 % of those lower
than 5, 86 % up to 6, 90 % up to 7 and 95 to 97 % above (docs, training on real receipts)."""
LOST = 0.05
"""The share of the words that may be lower than that on the canvas that is suggested."""
THIN = 12.0
"""Lower lines keep kernels of less than two pixels when they are shrunk by 0.4: 0.16 of their height."""
STEPS = 600
"""Of a training that takes minutes on two cores."""
_BATCH, _STEPS_AN_EPOCH, _VALIDATED = 4, 100, 50
"""Images a batch (configs/model/small.yaml); the most batches of an epoch of training, and of validation."""
_BARS, _WIDEST = 12, 40


@dataclass(frozen=True)
class Suggestion:
    """What fits the heights of the words; `too_low` is the share of them that `min_text_size` masks."""

    canvas: int
    min_text_size: int
    shrink_ratio: float
    too_low: float


def suggest(heights: NDArray[np.float64]) -> Suggestion:
    """Choose for words of these heights, as shares of their images' longer sides.

    The canvas is the smallest of CANVASES that leaves at most `LOST` of the words lower than `READABLE`;
    `min_text_size` keeps 99 % of them, and is 3 to 8, DBNet's own.
    """
    fitting = (side for side in CANVASES if np.mean(heights * side < READABLE) <= LOST)
    canvas = next(fitting, CANVASES[-1])
    on_canvas = heights * canvas
    least = min(8, max(3, math.floor(np.percentile(on_canvas, 1))))
    thin = np.percentile(on_canvas, 25) < THIN
    return Suggestion(canvas, least, 0.6 if thin else 0.4, float(np.mean(on_canvas < least)))


def histogram(on_canvas: NDArray[np.float64]) -> list[str]:
    """Draw the distribution of heights in pixels as lines of bars; the last takes all that are higher."""
    widest = float(np.percentile(on_canvas, 98))
    step = next(step for step in (1, 2, 4, 5, 10, 20, 50, math.inf) if widest / step <= _BARS)
    bars = max(1, math.ceil(widest / step)) if step < math.inf else 1
    counts = np.bincount(np.minimum(on_canvas // step, bars).astype(int), minlength=bars + 1)
    lines = []
    for place, count in enumerate(counts.tolist()):
        low, high = place * step, (place + 1) * step
        label = f"{low:g} and more" if place == bars else f"{low:g} to {high:g}"
        bar = "█" * math.ceil(count / counts.max() * _WIDEST)
        lines.append(f"{label:>12} px  {bar:<{_WIDEST}}  {count:>7,}  {count / counts.sum():6.1%}")
    return lines


def starter_yaml(name: str, data: DataConfig, usable: Mapping[str, int], chosen: Suggestion) -> str:
    """Write the configuration of a run that trains in minutes, with what to change for a real one.

    `usable` counts each split's images.
    """
    lines = [
        f"# Written by `warmstore init {name}`. `warmstore config --config {name}` lists every key.",
        "defaults:",
        "  - stages: default",
        "  - executor: default",
        "  - cache: mmap # `ram` keeps the samples in memory, for slow disks",
        "  - trainer: default",
        "  - model: small # learns on two CPU cores; dbnet_resnet18 or dbnet_resnet50 for a GPU",
        "  - _self_",
        "",
        "# Stores and trainings. Relative paths start at the folder that you run commands in.",
        f"work_dir: {_value(f'work/{name}')}",
        "",
        "data:",
        f"  root: {_value(str(data.root))}",
        "  splits:",
    ]
    for split, folder in data.splits.items():
        lines.append(f"    {split}:")
        for key, value in folder.model_dump(mode="json", exclude_defaults=True).items():
            why = " # of all images, in the order of a hash of their names" if key == "part" else ""
            lines.append(f"      {key}: {_value(value)}{why}")
    lines += [
        "",
        "# Images are scaled to fit into this square and padded. `warmstore ceiling` compares canvases.",
        f"canvas: {chosen.canvas}",
        "",
        "stages:",
        "  maps:",
        f"    min_text_size: {chosen.min_text_size} # px; lower words are not learnt: {chosen.too_low:.1%}",
        f"    shrink_ratio: {chosen.shrink_ratio} # 0.4 as published; 0.6 where lines of text are low",
        "",
        *_trainer(usable),
    ]
    return "\n".join(lines) + "\n"


def _trainer(usable: Mapping[str, int]) -> Sequence[str]:
    """Set about `STEPS` steps, whatever the number of images."""
    whole = max(1, math.ceil(usable["train"] / _BATCH))
    steps = min(whole, _STEPS_AN_EPOCH)
    epochs = 2 * max(3, min(30, round(STEPS / steps / 2)))
    lines = [
        "# Minutes on two cores, to see that it learns. Good figures take ten times the epochs and more.",
        "trainer:",
        f"  max_epochs: {epochs}",
        f"  check_val_every_n_epoch: {epochs // 2}",
    ]
    if steps < whole:
        lines.append(
            f"  limit_train_batches: {steps} # of {whole}; without this line an epoch sees every image"
        )
    if (validated := math.ceil(usable["val"] / _BATCH)) > _VALIDATED:
        lines.append(
            f"  limit_val_batches: {_VALIDATED} # of {validated}; without it the metric is the whole split's"
        )
    return lines


def _value(value: Any) -> str:
    """Write a value as YAML reads it back, and OmegaConf, too: there `${` begins an interpolation."""
    escaped = value.replace("${", "\\${") if isinstance(value, str) else value
    dumped = yaml.safe_dump(escaped, allow_unicode=True, default_flow_style=True, width=math.inf)
    return str(dumped).removesuffix("\n").removesuffix("\n...")
