"""What box decoding asks of pixels, compiled: sigmoids, what exceeds a threshold, means inside outlines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ocr.compiled import compiled, vectorised
from ocr.datasets.buffers import BufferPool
from ocr.elementary import sigmoid32

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int32]
Indices = NDArray[np.int64]

_BUFFERS = BufferPool()
"""Memory for probability maps: clearing fresh pages takes longer than filling them."""


def probability_map(logits: Floats) -> Floats:
    """The sigmoid of a map's logits, float32 (H, W), within 4e-7 of each value.

    In the thread that asks: torch would start a team of threads for each thread of a pool.
    """
    probabilities: Floats = _BUFFERS.take(logits.shape, torch.float32).numpy()
    _sigmoids(np.ascontiguousarray(logits).ravel(), probabilities.ravel())
    return probabilities


def exceeding(values: Floats, threshold: float) -> tuple[NDArray[np.uint8], bool]:
    """Give 1 where `values` (H, W) exceed the threshold, else 0, and whether all values are finite."""
    mask, finite = _exceeding(np.ascontiguousarray(values), float(np.float32(threshold)))
    return mask, bool(finite)


def means_inside(values: Floats, outlines: Sequence[Integers]) -> Doubles:
    """Mean of `values` (H, W) inside each outline, int32 (P, 2) as x and y: float64 (N,).

    The pixels of an outline are those that `cv2.fillPoly` would fill: the inside by the even-odd rule,
    and the border. An outline that lies outside the map has the mean 0. (Where one crosses the map's edge,
    fillPoly distorts what remains; here it stays as it is.)
    """
    sizes = np.fromiter(map(len, outlines), dtype=np.int64, count=len(outlines))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    points = np.concatenate(outlines) if len(outlines) else np.empty((0, 2), dtype=np.int32)
    return _means_inside(np.ascontiguousarray(values), np.ascontiguousarray(points, dtype=np.int32), offsets)


@vectorised
def _sigmoids(logits: Floats, probabilities: Floats) -> None:
    for i in range(len(logits)):
        probabilities[i] = sigmoid32(logits[i])


@compiled
def _exceeding(values: Floats, threshold: float) -> tuple[NDArray[np.uint8], bool]:
    mask, strange = np.empty(values.shape, dtype=np.uint8), False
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            mask[y, x] = values[y, x] > threshold
            strange |= not abs(values[y, x]) < np.inf
    return mask, not strange


@compiled
def _means_inside(values: Floats, points: Integers, offsets: Indices) -> Doubles:
    means = np.zeros(len(offsets) - 1)
    seen = np.zeros(values.shape, dtype=np.bool_)  # wiped after each outline, within its bounds
    for index in range(len(means)):
        outline = points[offsets[index] : offsets[index + 1]]
        total, count = _add_border(values, seen, outline)
        more, further = _add_interior(values, seen, outline)
        if count + further:
            means[index] = (total + more) / (count + further)
        top, bottom = max(outline[:, 1].min(), 0), outline[:, 1].max() + 1
        left, right = max(outline[:, 0].min(), 0), outline[:, 0].max() + 1
        seen[top:bottom, left:right] = False
    return means


@compiled
def _add_border(values: Floats, seen: NDArray[np.bool_], outline: Integers) -> tuple[float, int]:
    """Add the pixels of the lines from point to point, each once: Bresenham, IBM Systems Journal 4 (1965)."""
    total, count = 0.0, 0
    for k in range(len(outline)):
        x, y = outline[k - 1]
        x1, y1 = outline[k]
        if x > x1:
            x, y, x1, y1 = x1, y1, x, y
        down = 1 if y1 >= y else -1
        steep = abs(y1 - y) > x1 - x
        long, short = max(abs(y1 - y), x1 - x), min(abs(y1 - y), x1 - x)
        error = long - 2 * short
        for _ in range(long + 1):
            if 0 <= y < values.shape[0] and 0 <= x < values.shape[1] and not seen[y, x]:
                seen[y, x] = True
                total += values[y, x]
                count += 1
            aside = error < 0
            error += 2 * long * aside - 2 * short
            if steep:
                x, y = x + aside, y + down
            else:
                x, y = x + 1, y + down * aside
    return total, count


@compiled
def _add_interior(values: Floats, seen: NDArray[np.bool_], outline: Integers) -> tuple[float, int]:
    """Add the pixels between the first and second, third and fourth … crossing of each row.

    Where two such spans meet they share a pixel of the border, which is seen already.
    """
    top = outline[:, 1].min()
    starts = np.zeros(outline[:, 1].max() - top + 2, dtype=np.int64)
    for k in range(len(outline)):
        low, high = min(outline[k - 1, 1], outline[k, 1]), max(outline[k - 1, 1], outline[k, 1])
        starts[low - top + 1 : high - top + 1] += 1
    starts = np.cumsum(starts)
    filled = starts[:-1].copy()
    crossings = np.empty(starts[-1])
    for k in range(len(outline)):
        x0, y0 = outline[k - 1]
        x1, y1 = outline[k]
        for y in range(min(y0, y1), max(y0, y1)):
            x, place = x0 + (y - y0) * (x1 - x0) / (y1 - y0), filled[y - top]
            while place > starts[y - top] and crossings[place - 1] > x:
                crossings[place] = crossings[place - 1]
                place -= 1
            crossings[place] = x
            filled[y - top] += 1

    total, count = 0.0, 0
    for row in range(max(0, -top), min(len(filled), values.shape[0] - top)):
        y, across = row + top, crossings[starts[row] : starts[row + 1]]
        for pair in range(0, len(across), 2):
            left, end = max(0, int(np.ceil(across[pair]))), int(np.floor(across[pair + 1])) + 1
            end = max(left, end)  # a negative end would count from the right
            inside, before = values[y, left:end], seen[y, left:end]
            for x in range(len(inside)):
                new = not before[x]
                total += inside[x] * new
                count += new
    return total, count
