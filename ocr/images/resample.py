"""Antialiased bilinear resize onto the canvas: the bytes that torch gives, without loading torch."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr.geometry import Letterbox, Size

BAND = 256
"""Rows that are turned at once: a band and what is made of it stay in the processor's caches."""


def resize(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize RGB, uint8 (h, w, 3), to a height and width: bilinear with antialiasing, in integers.

    Gives the bytes of `torch.nn.functional.interpolate(..., mode="bilinear", antialias=True)`, which lie
    within one level of Pillow's `resize(BILINEAR)`. First columns are mixed, then rows. Columns are mixed as
    rows of the turned image, so that one loop over neighbours in memory does both.
    """
    height, width = size
    if width != rgb.shape[1]:
        narrow = np.empty((len(rgb), width, 3), np.uint8)
        for top in range(0, len(rgb), BAND):
            band = cv2.transpose(rgb[top : top + BAND])
            cv2.transpose(_mixed(band, width), narrow[top : top + BAND])
        rgb = narrow
    return rgb if height == len(rgb) else _mixed(rgb, height)


def place(resized: NDArray[np.uint8], box: Letterbox, canvas: Size, fill: int) -> NDArray[np.uint8]:
    """Lay RGB, uint8 (h, w, 3), into its place on the canvas: uint8 (3, H, W), `fill` around it."""
    placed = np.full((3, *canvas), fill, dtype=np.uint8)
    rows = slice(box.top, box.top + box.height)
    columns = slice(box.left, box.left + box.width)
    placed[:, rows, columns] = resized.transpose(2, 0, 1)
    return placed


def _mixed(image: NDArray[np.uint8], wanted: int) -> NDArray[np.uint8]:
    """Resize to `wanted` rows."""
    from ocr.images.resample_kernels import mix_rows  # here: commands that resize nothing do without numba

    height, width, channels = image.shape
    mixed = np.empty((wanted, width, channels), np.uint8)
    mix_rows(np.require(image, requirements=("C", "W")).reshape(height, -1), mixed.reshape(wanted, -1))
    return mixed
