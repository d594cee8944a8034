"""The public receipts as labelled images, for tests and benchmarks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocr.annotations import read_annotations
from ocr.evaluation import LabelledImage
from ocr.geometry import Size, letterbox, transform_points
from ocr.maps import MapParams, build_maps

Points = NDArray[np.float64]


def labelled_receipts(folder: Path, step: int = 1) -> list[LabelledImage]:
    """Read every `step`-th receipt of a folder with `img/NNN.jpg` and `box/NNN.csv`."""
    images = []
    for labels in read_annotations(folder / "box", folder / "img").images[::step]:
        with Image.open(folder / "img" / labels.file) as picture:
            width, height = picture.size
        polygons = [word.points.astype(np.float32) for word in labels.words]
        texts, ignore = [word.text for word in labels.words], [word.ignore for word in labels.words]
        images.append(LabelledImage(labels.file, (height, width), polygons, texts, ignore))
    return images


def receipt_polygons(folder: Path, canvas: Size) -> dict[str, list[Points]]:
    """The receipts' polygons on a canvas (height, width), by the image's name."""
    return {image.sample_id: on_canvas(image, canvas) for image in labelled_receipts(folder)}


def on_canvas(image: LabelledImage, canvas: Size) -> list[Points]:
    """An image's polygons in pixels of a canvas (height, width)."""
    matrix = letterbox(image.size, canvas).matrix
    return [transform_points(matrix, polygon) for polygon in image.polygons]


def curve(box: Points) -> Points:
    """Bend an upright box into an arc of 14 points."""
    (left, top), (right, bottom) = box[0], box[2]
    xs = np.linspace(left, right, 7)
    sag = 0.6 * (bottom - top) * np.sin(np.pi * np.linspace(0, 1, 7))
    upper = np.stack([xs, top + sag], axis=1)
    lower = np.stack([xs, bottom + sag], axis=1)
    return np.concatenate([upper, lower[::-1]])


def soft_map(image: LabelledImage, side: int = 640, blur: float = 0.7) -> NDArray[np.float32]:
    """What a good detector might see: the image's probability map on a square canvas, with soft edges."""
    params = MapParams(min_text_size=0, shrink_ratio=0.6)
    prob_map = build_maps(on_canvas(image, (side, side)), image.ignore, side, side, params).prob_map[0]
    soft: NDArray[np.float32] = cv2.GaussianBlur(prob_map.astype(np.float32), (0, 0), blur)
    return soft
