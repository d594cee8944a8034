"""The compiled loops of resizing. Importing them loads numba, which takes half a second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ocr.jit import compiled


@compiled
def mix_rows(rows: NDArray[np.uint8], mixed: NDArray[np.uint8]) -> None:
    """Fill `mixed`, uint8 (wanted, width), from `rows`, uint8 (length, width).

    Weights are in units of 2 to the power of minus `bits`, in which the largest of them fits 16 bits. That,
    and the steps of `weigh` down to the order of sums, are those of torch's
    `_compute_index_ranges_int16_weights`.
    """
    length, width = rows.shape
    wanted = len(mixed)
    weights = np.empty(2 * int(np.ceil(max(length / wanted, 1.0))) + 1)
    largest = 0.0
    for i in range(wanted):
        _, count = weigh(i, length, wanted, weights)
        largest = max(largest, weights[:count].max())
    bits = 0
    while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    total = np.empty(width, np.int32)
    for i in range(wanted):
        first, count = weigh(i, length, wanted, weights)  # again: of all rows they would be 16 bytes a row
        total[:] = 1 << (bits - 1)  # a half, so that the shift rounds
        for k in range(count):
            weight = np.int32(0.5 + weights[k] * (1 << bits))
            row = rows[first + k]
            for x in range(width):
                total[x] += np.int32(row[x]) * weight
        for x in range(width):
            mixed[i, x] = min(total[x] >> bits, 255)  # of a million rows, rounded weights can be more than 1


@compiled
def weigh(i: int, length: int, wanted: int, weights: NDArray[np.float64]) -> tuple[int, int]:
    """Give the first of `length` rows that the new row `i` is made of, and how many; fill in their weights.

    A triangle around the middle of the new row, as wide as two rows of the coarser side; the sum is 1.
    """
    scale = length / wanted
    reach = max(scale, 1.0)
    middle = scale * (i + 0.5)
    first = max(int(middle - reach + 0.5), 0)
    count = min(int(middle + reach + 0.5), length) - first
    total = 0.0
    for k in range(count):
        weights[k] = max(1.0 - abs((k + first - middle + 0.5) * (1.0 / reach)), 0.0)
        total += weights[k]
    for k in range(count):
        weights[k] /= total
    return first, count
