"""The compiled loops of resizing. Importing them loads numba, which takes half a second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ocr.jit import compiled


@compiled
def triangles(
    length: int, wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16], int]:
    """Give what each of `wanted` rows is made of: the first of `length` rows, how many, their weights.

    A triangle around the middle of the new row, as wide as two rows of the coarser side. Weights are in units
    of 2 to the power of minus the last value given, which lets the largest of them fit 16 bits. The steps are
    those of torch's `_compute_index_ranges_int16_weights`, down to the order of sums.
    """
    scale = length / wanted
    reach = max(scale, 1.0)
    first = np.empty(wanted, np.int64)
    count = np.empty(wanted, np.int64)
    exact = np.zeros((wanted, 2 * int(np.ceil(reach)) + 1))
    for i in range(wanted):
        middle = scale * (i + 0.5)
        first[i] = max(int(middle - reach + 0.5), 0)
        count[i] = min(int(middle + reach + 0.5), length) - first[i]
        total = 0.0
        for k in range(count[i]):
            exact[i, k] = max(1.0 - abs((k + first[i] - middle + 0.5) * (1.0 / reach)), 0.0)
            total += exact[i, k]
        for k in range(count[i]):
            exact[i, k] /= total
    bits = 0
    while bits < 22 and int(0.5 + exact.max() * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return first, count, (0.5 + exact * (1 << bits)).astype(np.int16), bits


@compiled
def mix_rows(rows: NDArray[np.uint8], mixed: NDArray[np.uint8]) -> None:
    """Fill `mixed`, uint8 (wanted, width), from `rows`, uint8 (length, width)."""
    first, count, weights, bits = triangles(len(rows), len(mixed))
    width = rows.shape[1]
    total = np.empty(width, np.int32)
    for i in range(len(mixed)):
        total[:] = 1 << (bits - 1)  # a half, so that the shift rounds
        for k in range(count[i]):
            weight = np.int32(weights[i, k])
            row = rows[first[i] + k]
            for x in range(width):
                total[x] += np.int32(row[x]) * weight
        for x in range(width):
            mixed[i, x] = total[x] >> bits
