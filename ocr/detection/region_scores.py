"""What a region of a probability map is worth: the mean inside its outline."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


def means_inside(values: NDArray[np.float32], outlines: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
    """Mean of `values` (H, W) inside each outline, int32 (P, 2) as x and y: float64 (N,).

    The pixels of an outline are those that `cv2.fillPoly` fills: the inside by the even-odd rule, and the
    border. An outline that lies outside the map has the mean 0.
    """
    height, width = values.shape
    means = np.zeros(len(outlines))
    for index, outline in enumerate(outlines):
        x, y, across, down = cv2.boundingRect(outline)
        # Filled as a whole, then cut at the map's edge: fillPoly distorts what it cuts itself.
        inside = np.zeros((down, across), np.uint8)
        cv2.fillPoly(inside, [outline], 1, offset=(-x, -y))
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + across, width), min(y + down, height)
        if left < right and top < bottom:
            inside = inside[top - y : bottom - y, left - x : right - x]
            means[index] = cv2.mean(values[top:bottom, left:right], inside)[0]
    return means
