"""Antialiased bilinear resize onto the canvas, by torch: within one level of Pillow's, and faster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ocr.geometry import Letterbox, Size


def resize(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize RGB, uint8 (h, w, 3), to a height and width: bilinear with antialiasing, in integers.

    The tensor is a view (channels last), which torch resizes without a copy in another layout or dtype.
    """
    if rgb.shape[:2] == size:
        return rgb
    import torch  # here, because half a second of import would be paid by commands that resize nothing
    from torch.nn.functional import interpolate

    # Contiguous: with other strides, which numpy may give sides of 1, torch 2.13 fails an assertion.
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).unsqueeze(0)
    resized = interpolate(pixels, size, mode="bilinear", antialias=True)
    return np.asarray(resized.squeeze(0).permute(1, 2, 0).numpy())


def place(resized: NDArray[np.uint8], box: Letterbox, canvas: Size, fill: int) -> NDArray[np.uint8]:
    """Lay RGB, uint8 (h, w, 3), into its place on the canvas: uint8 (3, H, W), `fill` around it."""
    placed = np.full((3, *canvas), fill, dtype=np.uint8)
    rows = slice(box.top, box.top + box.height)
    columns = slice(box.left, box.left + box.width)
    placed[:, rows, columns] = resized.transpose(2, 0, 1)
    return placed
