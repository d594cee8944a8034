"""Antialiased bilinear resize onto the canvas, without torch, whose loading takes a second or more."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr.geometry import Letterbox, Size


def resize(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize RGB, uint8 (h, w, 3), to a height and width: bilinear with antialiasing, in integers.

    Rows are mixed first, then columns, which are rows of the turned image: so one loop over neighbours in
    memory does both. These are the bytes that `torch.nn.functional.interpolate(..., antialias=True)` gives
    of the turned image, since it begins with the columns. Pillow's `resize(BILINEAR)` is within one level.
    An image that has this size is given back as it is.
    """
    height, width = size
    if height != len(rgb):
        rgb = _mixed(rgb, height)
    return rgb if width == rgb.shape[1] else cv2.transpose(_mixed(cv2.transpose(rgb), width))


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
    rows = np.require(image, requirements=("C", "W"))  # the loop is compiled for no other array
    mix_rows(rows.reshape(height, -1), mixed.reshape(wanted, -1))
    return mixed
