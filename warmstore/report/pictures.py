"""A report's pictures: stored samples with their maps, small enough for a thousand of them in one file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ocr.geometry import transform_points
from ocr.images import Limits
from pipeline.store import Store, stored_pixels

MAPS = ("prob_map", "thresh_map")
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_QUALITY = 50
_LEVELS = 8
_KERNELS, _BORDERS = 640, 320  # longer sides of their pictures; the threshold map is smooth
_KERNEL, _BORDER = (0, 92, 230), (214, 102, 0)
_THUMBNAIL, _LEAST = 320, 128


@dataclass(frozen=True)
class Content:
    """The canvas pixels that an image covers, without the padding: [left, right) × [top, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, matrix: NDArray[np.float64], size: Sequence[int], canvas: Sequence[int]) -> Content:
        """Find it for an upright image that `matrix` brings onto a canvas; sizes are (height, width)."""
        corners = transform_points(matrix, [(0, 0), (size[1], size[0])])
        (left, top), (right, bottom) = np.rint(corners).astype(int).clip(0, [canvas[1], canvas[0]]).tolist()
        return cls(left, top, max(right, left + 1), max(bottom, top + 1))

    def spell(self, points: NDArray[np.float64]) -> str:
        """Write points (P, 2) on the canvas as SVG's `points`, from the picture's corner."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in (points - (self.left, self.top)).tolist())

    def cut(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Cut it out of an array (C, H, W)."""
        return plane[:, self.top : self.bottom, self.left : self.right]


def stored_image(store: Store, row: int) -> NDArray[np.uint8]:
    """Read a sample's image as uint8 RGB (3, H, W), brought back where it is stored normalised.

    Raises StoreError where it is damaged.
    """
    return stored_pixels(store, store.value("image", row)).transpose(2, 0, 1)


def picture(image: NDArray[np.uint8], side: int, most_bytes: int) -> bytes:
    """Encode an RGB image (3, H, W) as WebP.

    Its longer side has at most `side` pixels, and fewer where it would have more than `most_bytes`.
    """
    pixels = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    while len(data := _webp(pixels, side)) > most_bytes and side > _LEAST:
        side = max(_LEAST, side * 3 // 4)
    return data


def map_pictures(maps: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """Encode the probability and the threshold map, each (1, H, W), as PNGs to be laid over the image.

    Kernels are blue; the threshold map is orange, the more opaque the higher it rises above its least.
    """
    kernels = _fitted((maps["prob_map"][0] * 255).astype(np.uint8), _KERNELS) > 127
    heights = maps["thresh_map"][0].astype(np.float32)
    least, most = float(heights.min()), float(heights.max())
    risen = (heights - least) / (most - least) if most > least else np.zeros_like(heights)
    levels = np.rint(_fitted(risen, _BORDERS) * (_LEVELS - 1))
    return {
        "prob_map": _overlay(kernels.astype(np.uint8), _KERNEL, [0, 150]),
        "thresh_map": _overlay(levels.astype(np.uint8), _BORDER, np.linspace(0, 190, _LEVELS)),
    }


def thumbnail(path: Path, limits: Limits) -> bytes:
    """Encode what can be seen of a refused image file, even where it is cut short.

    Raises OSError or ValueError, with a reason for a person, where nothing can be.
    """
    if not path.is_file():
        raise ValueError("there is no such file")
    if path.stat().st_size > limits.max_bytes:
        raise ValueError("the file is too large to be opened here")
    with warnings.catch_warnings():  # Pillow's, on damaged metadata; pixels are counted here
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > limits.max_pixels:
                raise ValueError(f"{image.width} × {image.height} pixels are too many to be decoded here")
            image.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
            try:
                image.load()
            except OSError:  # cut short: what was decoded by then is there
                image.tile = []
            return _webp(ImageOps.exif_transpose(image).convert("RGB"), _THUMBNAIL)


def _fitted(plane: NDArray[Any], side: int) -> NDArray[Any]:
    scale = min(1.0, side / max(plane.shape))
    size = max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))


def _overlay(levels: NDArray[np.uint8], colour: tuple[int, int, int], alphas: Any) -> bytes:
    """Encode levels (H, W) as a palette PNG of one colour with an opacity for each level."""
    image = Image.fromarray(levels, "P")
    image.putpalette(colour * len(alphas))
    output = io.BytesIO()
    bits = max(1, (len(alphas) - 1).bit_length())
    image.save(output, "PNG", transparency=bytes(int(alpha) for alpha in alphas), bits=bits, optimize=True)
    return output.getvalue()


def _webp(image: Image.Image, side: int) -> bytes:
    image.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    output = io.BytesIO()
    image.save(output, "WEBP", quality=_QUALITY, method=3)
    return output.getvalue()
