"""Outlines moved outwards with round corners: what undoes the shrinking of text regions.

Convex outlines, which most regions of text have, are grown by a compiled loop; the others by shapely,
all of a map in one call. Both run free of the GIL.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import atan2, ceil, cos, pi, sin

import numpy as np
import shapely
from numpy.typing import NDArray

from ocr.jit import compiled

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Contour = NDArray[np.int32]

CORNER_STEPS = 4
"""Edges per quarter turn of a corner, which leave the circle by 0.02 of its radius at most."""


def grown(outlines: Sequence[Contour], distances: Sequence[float]) -> list[Floats]:
    """Move every side of each outline (P, 2) outwards by its distance, in pixels: float32 (Q, 2) each.

    Rings run clockwise, y downwards. An outline that is split by it, or turned into a ring with a hole,
    comes back empty.
    """
    if not outlines:
        return []
    bounds = np.concatenate([[0], np.cumsum([len(outline) for outline in outlines])])
    points = np.concatenate(outlines).astype(np.float64)
    found, ends = _grow_convex(points, bounds, np.asarray(distances, dtype=np.float64))
    rings = [found[start:end] for start, end in pairwise(ends.tolist())]
    rest = [index for index, ring in enumerate(rings) if not len(ring)]
    for index, ring in zip(rest, _grow_any([(outlines[i], distances[i]) for i in rest]), strict=True):
        rings[index] = ring
    return rings


def _grow_any(outlines: Sequence[tuple[Contour, float]]) -> list[Floats]:
    if not outlines:
        return []
    polygons = shapely.polygons([shapely.linearrings(outline) for outline, _ in outlines])
    buffers = shapely.buffer(polygons, [distance for _, distance in outlines], quad_segs=CORNER_STEPS)
    whole = shapely.get_type_id(buffers) == shapely.GeometryType.POLYGON
    whole &= shapely.get_num_interior_rings(buffers) == 0
    return [
        shapely.get_coordinates(one)[:0:-1].astype(np.float32) if one_ring else np.empty((0, 2), np.float32)
        for one, one_ring in zip(buffers, whole, strict=True)
    ]


@compiled
def _grow_convex(points: Doubles, bounds: Indices, distances: Doubles) -> tuple[Floats, Indices]:
    """Grow each outline i, `points[bounds[i]:bounds[i + 1]]`, that is convex; others get no points."""
    count = len(distances)
    rings = np.empty((2 * len(points) + (4 * CORNER_STEPS + 1) * count, 2), dtype=np.float32)
    ends = np.zeros(count + 1, dtype=np.int64)
    for index in range(count):
        outline = points[bounds[index] : bounds[index + 1]]
        ends[index + 1] = ends[index] + _grow_one(outline, distances[index], rings[ends[index] :])
    return rings[: ends[count]], ends


@compiled
def _grow_one(outline: Doubles, distance: float, ring: Floats) -> int:
    """Write the grown outline and give its length; 0 where it is not convex, or corners coincide."""
    count, area = len(outline), 0.0
    for k in range(count):
        area += outline[k - 1, 0] * outline[k, 1] - outline[k, 0] * outline[k - 1, 1]
    step = 1 if area > 0 else -1  # clockwise, y downwards
    turned, written = 0.0, 0
    for k in range(count):
        before, here, after = (k - 1) * step % count, k * step % count, (k + 1) * step % count
        x, y = outline[here, 0], outline[here, 1]
        in_x, in_y = x - outline[before, 0], y - outline[before, 1]
        out_x, out_y = outline[after, 0] - x, outline[after, 1] - y
        angle = atan2(in_x * out_y - in_y * out_x, in_x * out_x + in_y * out_y)
        turned += angle
        coincide = out_x == 0 and out_y == 0
        if coincide or not (0 <= angle < pi and turned < 2 * pi + 0.1):
            return 0
        normal = atan2(-in_x, in_y)
        steps = ceil(angle / (pi / 2) * CORNER_STEPS - 1e-6)
        for part in range(steps + 1):
            direction = normal + angle * part / max(steps, 1)
            ring[written, 0] = x + distance * cos(direction)
            ring[written, 1] = y + distance * sin(direction)
            written += 1
    return written
