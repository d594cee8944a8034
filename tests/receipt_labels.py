"""The public receipts as labelled images, for tests and benchmarks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocr.annotations import icdar
from ocr.ceiling import LabelledImage
from ocr.geometry import letterbox, transform_points
from ocr.maps import MapParams, build_maps


def labelled_receipts(folder: Path, step: int = 1) -> list[LabelledImage]:
    """Read every `step`-th receipt of a folder with `img/NNN.jpg` and `box/NNN.csv`."""
    images = []
    for labels in list(icdar.read(folder / "box", folder / "img"))[::step]:
        with Image.open(folder / "img" / labels.file) as picture:
            width, height = picture.size
        polygons = [word.points.astype(np.float32) for word in labels.words]
        texts, ignore = [word.text for word in labels.words], [word.ignore for word in labels.words]
        images.append(LabelledImage(labels.file, (height, width), polygons, texts, ignore))
    return images


def soft_map(image: LabelledImage, side: int = 640, blur: float = 0.7) -> NDArray[np.float32]:
    """What a good detector might see: the image's probability map on a square canvas, with soft edges."""
    fitted = letterbox(image.size, (side, side))
    on_canvas = [transform_points(fitted.matrix, polygon) for polygon in image.polygons]
    params = MapParams(min_text_size=0, shrink_ratio=0.6)
    prob_map = build_maps(on_canvas, image.ignore, side, side, params).prob_map[0]
    soft: NDArray[np.float32] = cv2.GaussianBlur(prob_map.astype(np.float32), (0, 0), blur)
    return soft
