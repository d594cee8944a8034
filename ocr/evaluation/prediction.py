"""Regions found on photographs: from image files to polygons in their upright frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ocr.detection import Detections
from ocr.evaluation.overlays import RIGHT
from ocr.geometry import Size, transform_points
from ocr.preprocess import CanonicalParams, DecodeParams, RawSample, canonicalize, decode_upright
from ocr.training import DetectorModule
from pipeline.errors import Quarantine
from pipeline.pictures import as_pixels, outline


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found on one image: `detections` in the upright frame, whose (height, width) is `size`.

    `canvas` is what the network saw, uint8 RGB (3, H, W); `matrix` (3, 3) leads onto it.
    """

    name: str
    size: Size
    detections: Detections
    canvas: NDArray[np.uint8]
    matrix: NDArray[np.float64]


@dataclass(frozen=True)
class Refused:
    """An image that cannot be used, and why."""

    name: str
    verdict: Quarantine


def predict(
    module: DetectorModule,
    images: Iterable[tuple[str, Path]],
    canonical: CanonicalParams,
    decode: DecodeParams,
    batch_size: int,
) -> Iterator[Prediction | Refused]:
    """Find the regions of images, each a name and a file, in order but for those that are refused.

    Images go the way of samples: upright first, then onto the canvas that the detector was trained for.
    """
    decode = decode.model_copy(update={"canvas": module.identity.canvas})
    waiting = iter(images)
    while batch := list(islice(waiting, batch_size)):
        seen: list[tuple[str, Size, NDArray[np.uint8], NDArray[np.float64]]] = []
        for name, path in batch:
            try:
                upright = canonicalize(RawSample(path), canonical)
                decoded = decode_upright(upright.upright, decode)
            except Quarantine as verdict:
                yield Refused(name, verdict)
            else:
                seen.append((name, upright.size, decoded.image, decoded.matrix))
        if seen:
            yield from _found(module, seen)


def draw_prediction(found: Prediction) -> Image.Image:
    """Draw the outlines of what was found over what the network saw."""
    picture = Image.fromarray(as_pixels(found.canvas))
    draw = ImageDraw.Draw(picture)
    for polygon in found.detections.polygons:
        outline(draw, transform_points(found.matrix, polygon), RIGHT, 2)
    return picture


def _found(
    module: DetectorModule, seen: list[tuple[str, Size, NDArray[np.uint8], NDArray[np.float64]]]
) -> Iterator[Prediction]:
    """Run the network over one batch, in float32."""
    names, sizes, canvases, matrices = zip(*seen, strict=True)
    with torch.inference_mode():
        batch = {
            "images": module.prepared(torch.from_numpy(np.stack(canvases)).to(module.device)),
            "inverse_matrix": torch.from_numpy(np.linalg.inv(np.stack(matrices))),
            "size": torch.tensor(sizes, dtype=torch.int32),
            "sample_id": list(names),
        }
        detections = module.predict_step(batch, 0)
    for name, size, canvas, matrix, found in zip(names, sizes, canvases, matrices, detections, strict=True):
        yield Prediction(name, size, found, canvas, matrix)
