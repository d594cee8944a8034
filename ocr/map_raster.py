"""The loops that draw, in the subset of Python that numba compiles; see `ocr.map_backends`."""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import Any

import numpy as np

# What the three masks hold before their outlines are filled with the opposite.
GROUNDS = (0, 1, 0)


def draw(
    fills: bool,
    planes: Any,
    field: Any,
    outlines: Any,
    outline_bounds: Any,
    rings: Any,
    bounds: Any,
    distance: Any,
    boxes: Any,
    low: float,
    high: float,
    euclidean: bool,
) -> Any:
    """Draw all maps of a sample into uninitialised planes; tell for each outline whether it was filled.

    The three uint8 `planes` each have `outlines`, filled as `fill_outlines` does, or left to OpenCV
    unless `fills`. The rest is for `raise_edges`. All in one call, for the sake of threads: each time
    that the GIL changes hands costs a wake-up.
    """
    field[:] = low
    raise_edges(field, rings, bounds, distance, boxes, low, high, euclidean)
    filled = (
        np.zeros(len(outline_bounds[0]) - 1, np.bool_),
        np.zeros(len(outline_bounds[1]) - 1, np.bool_),
        np.zeros(len(outline_bounds[2]) - 1, np.bool_),
    )
    for i in range(3):
        planes[i][:] = GROUNDS[i]
        if fills:
            fill_outlines(planes[i], outlines[i], outline_bounds[i], 1 - GROUNDS[i], filled[i])
    return filled


def fill_outlines(plane: Any, outlines: Any, bounds: Any, value: int, filled: Any) -> None:
    """Fill outlines in a uint8 (H, W) plane as `cv2.fillPoly` fills one; note in `filled` which are done.

    That is the border, and what lies inside by the even-odd rule. Left to OpenCV are outlines that leave
    the plane, as it bends what remains of them.
    """
    stops = np.empty(plane.shape[0], np.int64)
    for index in range(len(bounds) - 1):
        outline = outlines[bounds[index] : bounds[index + 1]]
        if fits(plane, outline):
            filled[index] = True
            for i in range(len(outline)):
                draw_line(plane, outline[i - 1, 0], outline[i - 1, 1], outline[i, 0], outline[i, 1], value)
            fill_inside(plane, outline, value, stops)


def fits(plane: Any, outline: Any) -> bool:
    """Tell whether an outline lies within the plane."""
    height, width = plane.shape
    for i in range(len(outline)):
        if not (0 <= outline[i, 0] < width and 0 <= outline[i, 1] < height):
            return False
    return len(outline) > 0


def draw_line(plane: Any, x1: int, y1: int, x2: int, y2: int, value: int) -> None:
    """Draw OpenCV's 8-connected line (Bresenham's, from the left end)."""
    if x2 < x1:
        x1, y1, x2, y2 = x2, y2, x1, y1
    if y1 == y2:
        plane[y1, x1 : x2 + 1] = value
        return
    dx, dy = x2 - x1, abs(y2 - y1)
    way = 1 if y2 >= y1 else -1
    longer, shorter = max(dx, dy), min(dx, dy)
    error = longer - 2 * shorter
    x, y = x1, y1
    for _ in range(longer + 1):
        plane[y, x] = value
        both = error < 0
        error += 2 * longer * both - 2 * shorter
        if both or dx >= dy:
            x += 1
        if both or dx < dy:
            y += way


def fill_inside(plane: Any, outline: Any, value: int, stops: Any) -> None:
    """Fill each row between its first and second crossing, its third and fourth, and so on.

    `stops` is room for an int64 per row. Where rounding moves a crossing, the pixel is one of the border's.
    """
    top, bottom = outline[:, 1].min(), outline[:, 1].max()
    stops = stops[: bottom - top]
    stops[:] = 0
    for i in range(len(outline)):
        y1, y2 = outline[i - 1, 1], outline[i, 1]
        stops[min(y1, y2) - top : max(y1, y2) - top] += 1
    total = 0
    for row in range(len(stops)):
        total, stops[row] = total + stops[row], total
    crossings = np.empty(total)
    for i in range(len(outline)):
        x1, y1, x2, y2 = outline[i - 1, 0], outline[i - 1, 1], outline[i, 0], outline[i, 1]
        for y in range(min(y1, y2), max(y1, y2)):
            crossings[stops[y - top]] = x1 + float(y - y1) * float(x2 - x1) / float(y2 - y1)
            stops[y - top] += 1
    start = 0
    for row in range(len(stops)):
        across = crossings[start : stops[row]]
        sort(across)
        for i in range(0, len(across), 2):
            plane[top + row, ceil(across[i]) : floor(across[i + 1]) + 1] = value
        start = stops[row]


def sort(values: Any) -> None:
    """Sort a few values in place."""
    for i in range(1, len(values)):
        value, place = values[i], i
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


def raise_edges(
    field: Any, rings: Any, bounds: Any, distance: Any, boxes: Any, low: float, high: float, euclidean: bool
) -> None:
    """Raise a float32 (H, W) field to `high` on the edges of each polygon, falling to `low` at its D.

    `rings` are float64 points. `boxes` int64 (N, 4) are the first column and row, and the last, of the
    pixels that a polygon may raise; an empty box draws nothing.
    """
    for index in range(len(bounds) - 1):
        left, top, right, bottom = boxes[index]
        if left > right or top > bottom:
            continue
        ring = rings[bounds[index] : bounds[index + 1]]
        window = field[top : bottom + 1, left : right + 1]
        for i in range(len(ring)):
            x1, y1, x2, y2 = ring[i - 1, 0] - left, ring[i - 1, 1] - top, ring[i, 0] - left, ring[i, 1] - top
            # Ends in one order, so that a polygon drawn the other way round gives the same bits.
            if x1 > x2 or (x1 == x2 and y1 > y2):
                x1, y1, x2, y2 = x2, y2, x1, y1
            raise_edge(window, x1, y1, x2, y2, distance[index], low, high - low, euclidean)


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


def is_beyond(ax: Any, ay: Any, bx: Any, by: Any, dx: float, dy: float, euclidean: bool) -> Any:
    """Tell whether a pixel is measured to an end: it lies (ax, ay) from one end and (bx, by) from the other.

    DBNet measures so where the angle that the pixel makes with the two ends is acute, the true distance
    where the foot of the perpendicular falls outside the edge. Takes arrays too.
    """
    if euclidean:
        return (ax * dx + ay * dy < 0.0) | (bx * dx + by * dy > 0.0)
    return dx * dx + dy * dy < ax * ax + ay * ay + (bx * bx + by * by)


def raise_pixel(
    line: Any, column: int, ax: float, ay: float, bx: float, by: float, reach: float, low: float, span: float
) -> None:
    """Raise one pixel by its distance to the nearer end."""
    nearest = min(ax * ax + ay * ay, bx * bx + by * by)
    if nearest < reach * reach:
        value = np.float32(low + (1.0 - sqrt(nearest) / reach) * span)
        if value > line[column]:
            line[column] = value


def raise_run(
    run: Any, start: int, x1: float, ay: float, dx: float, dy: float, scale: float, low: float, span: float
) -> None:
    """Raise a run of pixels, the first in column `start`, by their distance to the whole line; vectorises."""
    for i in range(np.int32(len(run))):
        ax = np.float64(np.int32(start + i)) - x1
        value = np.float32(low + (1.0 - abs(dx * ay - dy * ax) * scale) * span)
        old = run[i]
        run[i] = value if value > old else old
