"""Where the characters of a region are expected: pseudo-character centres, from its shape and their number.

The direction of reading comes from the order of the points: they start at the top left of the first
character and run clockwise. A polygon of an even number of points has half of them along the top and
half along the bottom, as in the formats for curved text; any other polygon is read like the
rectangle of least area around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr.geometry import Points, clockwise

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

MOST_ESTIMATED = 10
"""No estimate exceeds this many characters (the constant of the authors' package)."""


def corners_of(polygons: Sequence[Points]) -> Points:
    """Give (N, 4, 2): a quadrilateral itself, and the rectangle of least area around any other polygon.

    float32 where all polygons are, so that numbers are rounded as the authors' package rounds them.
    """
    if not polygons:
        return np.empty((0, 4, 2))
    return np.stack([polygon if len(polygon) == 4 else _rectangle(polygon) for polygon in polygons])


def aspect_ratios(corners: Points) -> Doubles:
    """Mean length of top and bottom over mean length of the sides: float64 (N,)."""
    sides = (corners - np.roll(corners, -1, axis=1)).astype(np.float64)
    top, right, bottom, left = np.sqrt((sides**2).sum(axis=2)).T
    ratios: Doubles = ((top + bottom) / 2 + 1e-5) / ((right + left) / 2 + 1e-5)
    return ratios


def estimated_lengths(aspect: Doubles) -> Indices:
    """How many characters a target may have: round(0.5 + longer side / shorter side), at most 10."""
    return np.minimum(np.rint(0.5 + np.maximum(aspect, 1 / aspect)), MOST_ESTIMATED).astype(np.int64)


def estimated_false(aspect: Doubles) -> Indices:
    """How many characters a prediction that matches nothing claims: round(0.5 + height / width), at most 10.

    The authors' package has it so: a false line costs one character however long it is, unless it
    stands upright.
    """
    return np.minimum(np.rint(0.5 + 1 / (1e-5 + aspect)), MOST_ESTIMATED).astype(np.int64)


@dataclass(frozen=True)
class Centres:
    """Centres end to end: `points` float64 (K, 2), those of target i at `offsets[i]:offsets[i + 1]`."""

    points: Doubles
    offsets: Indices

    @property
    def target(self) -> Indices:
        """The target that each centre belongs to: int64 (K,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def counts(self, held: NDArray[np.bool_]) -> Indices:
        """Add the rows of (K, M) up by target: int64 (N, M)."""
        running = np.zeros((len(held) + 1, held.shape[1]), dtype=np.int64)
        np.cumsum(held, axis=0, out=running[1:])
        return np.diff(running[self.offsets], axis=0)


def place_centres(
    polygons: Sequence[Points], corners: Points, lengths: Indices, vertical_aspect_ratio: float
) -> Centres:
    """Space `lengths[i]` centres evenly along the middle of target i, half a step from either end.

    The middle of a quadrilateral joins its left and right edge, or its lower and upper edge where
    width over height is below `vertical_aspect_ratio`.
    """
    upright = (aspect_ratios(corners) < vertical_aspect_ratio)[:, None]
    left_top, right_top, right_bottom, left_bottom = corners.transpose(1, 0, 2)
    start = np.where(upright, right_bottom + left_bottom, left_top + left_bottom) / 2
    end = np.where(upright, left_top + right_top, right_top + right_bottom) / 2
    step = (end - start) / np.maximum(lengths, 1)[:, None].astype(corners.dtype)

    offsets = np.concatenate([[0], np.cumsum(lengths)])
    nth = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    start, step = np.repeat(start, lengths, axis=0), np.repeat(step, lengths, axis=0)
    points = (start + step / 2 + step * nth[:, None].astype(corners.dtype)).astype(np.float64)
    for index, polygon in enumerate(polygons):
        if len(polygon) > 4 and len(polygon) % 2 == 0:
            points[offsets[index] : offsets[index + 1]] = _along_middle(polygon, lengths[index])
    return Centres(points, offsets)


def _along_middle(polygon: Points, length: int) -> Doubles:
    """Space points along the line half way between the upper and the lower points of a polygon."""
    half = len(polygon) // 2
    middle = (polygon[:half] + polygon[half:][::-1]).astype(np.float64) / 2
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(middle, axis=0), axis=1))])
    at = (np.arange(length) + 0.5) / max(length, 1) * walked[-1]
    return np.stack([np.interp(at, walked, middle[:, axis]) for axis in (0, 1)], axis=1)


def _rectangle(polygon: Points) -> Points:
    box = cv2.boxPoints(cv2.minAreaRect(polygon.astype(np.float32)))
    corners: Points = clockwise(box[None])[0].astype(polygon.dtype)
    return corners
