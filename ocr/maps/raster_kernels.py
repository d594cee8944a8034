"""The loops that draw the threshold map."""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import Any

import numpy as np

from ocr.jit import compiled


@compiled
def raise_edges(
    field: Any, rings: Any, bounds: Any, distance: Any, boxes: Any, low: float, high: float, euclidean: bool
) -> None:
    """Raise a float32 (H, W) field to `high` on the edges of each polygon, falling to `low` at its D.

    Polygons lie end to end: the i-th is `rings[bounds[i]:bounds[i + 1]]`, float64 x and y. `boxes` int64
    (N, 4) are left, top, width and height of the pixels that each may raise; an empty box draws nothing.
    """
    for index in range(len(bounds) - 1):
        left, top = max(boxes[index, 0], 0), max(boxes[index, 1], 0)
        right, bottom = boxes[index, 0] + boxes[index, 2], boxes[index, 1] + boxes[index, 3]
        if left >= right or top >= bottom:
            continue
        ring = rings[bounds[index] : bounds[index + 1]]
        window = field[top:bottom, left:right]
        for i in range(len(ring)):
            x1, y1, x2, y2 = ring[i - 1, 0] - left, ring[i - 1, 1] - top, ring[i, 0] - left, ring[i, 1] - top
            # Ends in one order, so that a polygon drawn the other way round gives the same bits.
            if x1 > x2 or (x1 == x2 and y1 > y2):
                x1, y1, x2, y2 = x2, y2, x1, y1
            raise_edge(window, x1, y1, x2, y2, distance[index], low, high - low, euclidean)


@compiled
def raise_edge(
    window: Any,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    reach: float,
    low: float,
    span: float,
    euclidean: bool,
) -> None:
    """Raise the pixels of a window near one edge; coordinates count from the window's first pixel.

    In a row, the pixels that lie beside the edge (rather than beyond an end of it) are one run: it is
    found from both ends, and raised without a test for each pixel.
    """
    dx, dy = x2 - x1, y2 - y1
    length = sqrt(dx * dx + dy * dy)
    scale = 1.0 / (length * reach)
    first_row = max(0, floor(min(y1, y2) - reach))
    last_row = min(window.shape[0] - 1, ceil(max(y1, y2) + reach))
    first_column = max(0, floor(x1 - reach))
    last_column = min(window.shape[1] - 1, ceil(x2 + reach))
    for row in range(first_row, last_row + 1):
        ay, by = row - y1, row - y2
        start, stop = first_column, last_column + 1
        if abs(dy) > 1e-3:  # leave out what lies too far from the whole line, with a pixel to spare
            middle, half = x1 + ay * dx / dy, reach * length / abs(dy) + 1.0
            start = max(floor(middle - half), first_column)
            stop = min(ceil(middle + half), last_column) + 1
        line = window[row]
        while start < stop and is_beyond(start - x1, ay, start - x2, by, dx, dy, euclidean):
            raise_pixel(line, start, start - x1, ay, start - x2, by, reach, low, span)
            start += 1
        while start < stop and is_beyond(stop - 1 - x1, ay, stop - 1 - x2, by, dx, dy, euclidean):
            stop -= 1
            raise_pixel(line, stop, stop - x1, ay, stop - x2, by, reach, low, span)
        raise_run(line[start : max(start, stop)], start, x1, ay, dx, dy, scale, low, span)


@compiled
def is_beyond(ax: Any, ay: Any, bx: Any, by: Any, dx: float, dy: float, euclidean: bool) -> Any:
    """Tell whether a pixel is measured to an end: it lies (ax, ay) from one end and (bx, by) from the other.

    DBNet measures so where the angle that the pixel makes with the two ends is acute, the true distance
    where the foot of the perpendicular falls outside the edge.
    """
    if euclidean:
        return ax * dx + ay * dy < 0.0 or bx * dx + by * dy > 0.0
    return dx * dx + dy * dy < ax * ax + ay * ay + (bx * bx + by * by)


@compiled
def raise_pixel(
    line: Any, column: int, ax: float, ay: float, bx: float, by: float, reach: float, low: float, span: float
) -> None:
    """Raise one pixel by its distance to the nearer end."""
    nearest = min(ax * ax + ay * ay, bx * bx + by * by)
    if nearest < reach * reach:
        value = np.float32(low + (1.0 - sqrt(nearest) / reach) * span)
        if value > line[column]:
            line[column] = value


@compiled
def raise_run(
    run: Any, start: int, x1: float, ay: float, dx: float, dy: float, scale: float, low: float, span: float
) -> None:
    """Raise a run of pixels, the first in column `start`, by their distance to the whole line; vectorises."""
    for i in range(np.int32(len(run))):
        ax = np.float64(np.int32(start + i)) - x1
        value = np.float32(low + (1.0 - abs(dx * ay - dy * ax) * scale) * span)
        old = run[i]
        run[i] = value if value > old else old
