"""Where a pixel goes: EXIF orientation (raw → upright) and the letterbox (upright → canvas).

Coordinates are continuous: an image of w × h pixels covers [0, w] × [0, h], pixel (i, j) covers
[j, j + 1] × [i, i + 1]. Hence a mirror sends x to w - x, and a resize from w to w' sends x to
x · w' / w, with no half-pixel shift. Sizes are (height, width); points are (x, y).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

F = TypeVar("F", bound=np.floating[Any])
Size = tuple[int, int]
Points = NDArray[np.floating[Any]]
"""Points x, y along the last axis: those of a polygon are (P, 2)."""
Padding = Literal["bottom_right", "center"]

ORIENTATIONS = range(1, 9)
"""The values of EXIF's Orientation tag (0x0112), as in the Exif 2.32 specification, section 4.6.4."""

# For each orientation, the upright (x', y') of the raw (x, y) in an image of w × h pixels, as rows of
# coefficients of (x, y, w, h).
_UPRIGHT = {
    1: ((1, 0, 0, 0), (0, 1, 0, 0)),
    2: ((-1, 0, 1, 0), (0, 1, 0, 0)),
    3: ((-1, 0, 1, 0), (0, -1, 0, 1)),
    4: ((1, 0, 0, 0), (0, -1, 0, 1)),
    5: ((0, 1, 0, 0), (1, 0, 0, 0)),
    6: ((0, -1, 0, 1), (1, 0, 0, 0)),
    7: ((0, -1, 0, 1), (-1, 0, 1, 0)),
    8: ((0, 1, 0, 0), (-1, 0, 1, 0)),
}


@dataclass(frozen=True)
class Letterbox:
    """How an image lies on the canvas: resized to height × width, its corner at (top, left).

    `matrix` is float64 (3, 3), upright pixel → canvas pixel.
    """

    height: int
    width: int
    top: int
    left: int
    matrix: NDArray[np.float64]


def letterbox(size: Size, canvas: Size, padding: Padding = "bottom_right") -> Letterbox:
    """Fit an image of `size` into `canvas` by the side that is longest relative to it, aspect ratio kept.

    `padding` names where the empty part goes: below and to the right, or to both sides alike.
    """
    (height, width), (canvas_height, canvas_width) = size, canvas
    if min(height, width, canvas_height, canvas_width) < 1:
        raise ValueError(f"sizes must be positive, got an image of {size} and a canvas of {canvas}")
    scale = min(canvas_height / height, canvas_width / width)
    fitted_height = min(canvas_height, max(1, round(height * scale)))
    fitted_width = min(canvas_width, max(1, round(width * scale)))
    centred = padding == "center"
    top = (canvas_height - fitted_height) // 2 if centred else 0
    left = (canvas_width - fitted_width) // 2 if centred else 0
    matrix = np.array(
        [[fitted_width / width, 0.0, left], [0.0, fitted_height / height, top], [0.0, 0.0, 1.0]]
    )
    return Letterbox(fitted_height, fitted_width, top, left, matrix)


def transform_points(matrix: NDArray[np.floating[Any]], points: ArrayLike) -> NDArray[np.float64]:
    """Send points (P, 2) through an affine or projective matrix (3, 3); gives float64 (P, 2)."""
    source = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    transform = np.asarray(matrix, dtype=np.float64)
    target = source @ transform[:2, :2].T + transform[:2, 2]
    if np.array_equal(transform[2], (0.0, 0.0, 1.0)):
        return target
    return np.asarray(target / (source @ transform[2, :2] + transform[2, 2])[:, None])


def upright_size(size: Size, orientation: int) -> Size:
    """Give the upright (height, width) of an image stored as `size` with an EXIF orientation of 1 to 8."""
    return size if orientation < 5 else (size[1], size[0])


def upright_matrix(size: Size, orientation: int) -> NDArray[np.float64]:
    """Give the matrix, float64 (3, 3), raw pixel → upright pixel, for a raw (height, width).

    Raises `KeyError` for an orientation outside 1 to 8.
    """
    height, width = size
    rows = [(a, b, c * width + d * height) for a, b, c, d in _UPRIGHT[orientation]]
    return np.array([*rows, (0, 0, 1)], dtype=np.float64)


def upright_points(points: ArrayLike, size: Size, orientation: int) -> NDArray[np.float64]:
    """Bring points (P, 2) from a raw frame of (height, width) `size` into the upright frame; float64."""
    return transform_points(upright_matrix(size, orientation), points)


def clockwise(corners: NDArray[F]) -> NDArray[F]:
    """Order the corners of boxes (N, 4, 2): top left, top right, bottom right, bottom left.

    The two with the least x are the left ones, as in the reference.
    """
    by_x = np.take_along_axis(corners, np.argsort(corners[..., :1], axis=1, kind="stable"), axis=1)
    sides = by_x.reshape(-1, 2, 2, 2)
    by_y = np.take_along_axis(sides, np.argsort(sides[..., 1:], axis=2, kind="stable"), axis=2)
    return np.stack([by_y[:, 0, 0], by_y[:, 1, 0], by_y[:, 1, 1], by_y[:, 0, 1]], axis=1)
