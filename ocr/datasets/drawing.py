"""A sample as a dataset gives it, drawn: its image with the polygons, its maps over the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ocr.datasets.batches import ARRAYS
from ocr.geometry import transform_points
from pipeline.errors import ConfigError
from pipeline.pictures import MeanStd, as_pixels, overview, sheet

if TYPE_CHECKING:
    from PIL import Image


def draw_sample(sample: Mapping[str, Any], mean_std: MeanStd, side: int = 480) -> Image.Image:
    """Draw a sample, its pictures side by side, the longer side of each `side` pixels.

    Polygons need `inverse_matrix` or `matrix`, which bring them onto the canvas; floating images are brought
    back by `mean_std`. Raises ConfigError where the sample has neither an image nor a map.
    """
    from PIL import Image

    pictures: dict[str, Any] = {}
    for name in ARRAYS:
        if isinstance(value := sample.get(name), torch.Tensor):
            values = (value.float() if value.is_floating_point() else value).cpu().numpy()
            is_image = name == "image"
            pictures[name] = Image.fromarray(as_pixels(values, mean_std)) if is_image else values[0]
    if not pictures:
        raise ConfigError(f"there is nothing to draw of a sample without {', '.join(ARRAYS)}")
    outlines = []
    if "matrix" in sample or "inverse_matrix" in sample:
        matrix = sample["matrix"] if "matrix" in sample else torch.inverse(sample["inverse_matrix"])
        outlines = [transform_points(np.asarray(matrix), points) for points in sample.get("polygons", ())]
    panels = overview(pictures, outlines, sample.get("ignore", ()), side)
    first, name = panels[0][1], sample.get("sample_id", "")
    return sheet([(f"{name} {panels[0][0]}", first), *panels[1:]], 3, side)
