"""What people write today to preprocess for DBNet, and the least that can be done: decoding and resizing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import turbojpeg
from PIL import Image, ImageOps

from ocr.annotations import read_annotations
from ocr.geometry import letterbox
from ocr.images import resize
from ocr.maps import Maps
from tests.support.map_referees import INSTALLED
from tests.support.map_reference import reference_maps

CANVAS = 640
TOOLKIT = next(reversed(INSTALLED), "a plain loop")
"""Whose maps the script draws: PaddleOCR's where it is installed, else MindOCR's, else the tests' loop."""


class Labelled(NamedTuple):
    """A receipt: the name of its image, and polygons (P, 2) in the upright frame."""

    name: str
    polygons: Sequence[np.ndarray]


def labelled(receipts: Path, count: int) -> list[Labelled]:
    """The first receipts of a folder with `img/NNN.jpg` and `box/NNN.csv`."""
    images = read_annotations(receipts / "box", receipts / "img").images[:count]
    return [Labelled(image.file, [word.points for word in image.words]) for image in images]


def decode_and_resize(images: Path, samples: Sequence[Labelled]) -> int:
    """The floor: PyTurboJPEG's pixels brought to the canvas, nothing kept; gives the number of samples."""
    jpeg = turbojpeg.TurboJPEG()
    for sample in samples:
        pixels = jpeg.decode((images / sample.name).read_bytes(), pixel_format=turbojpeg.TJPF_RGB)
        box = letterbox(pixels.shape[:2], (CANVAS, CANVAS))
        resize(pixels, (box.height, box.width))
    return len(samples)


def script(images: Path, samples: Sequence[Labelled], target: Path) -> int:
    """Pillow, a toolkit's maps, and `np.savez_compressed`, a file a sample; gives the number of samples."""
    target.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        script_sample(images, target, sample)
    return len(samples)


def script_sample(images: Path, target: Path, sample: Labelled) -> None:
    """Decode, turn, resize and pad by Pillow, draw a toolkit's maps, and save all of it compressed."""
    with Image.open(images / sample.name) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    scale = CANVAS / max(image.size)
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    canvas = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    canvas[: small.height, : small.width] = np.asarray(small)
    polygons = [polygon.astype(np.float64) * scale for polygon in sample.polygons]
    maps = _maps(polygons)
    np.savez_compressed(
        target / f"{Path(sample.name).stem}.npz",
        image=canvas.transpose(2, 0, 1),
        polygons=polygons,
        prob_map=maps.prob_map,
        prob_mask=maps.prob_mask,
        thresh_map=maps.thresh_map.astype(np.float16),
        thresh_mask=maps.thresh_mask,
    )


def _maps(polygons: list[np.ndarray]) -> Maps:
    if INSTALLED:
        return INSTALLED[TOOLKIT](polygons, CANVAS, CANVAS)
    return reference_maps(polygons, [False] * len(polygons), CANVAS, CANVAS)
