"""Functions of one number, written out for compiled loops: calls into the C library go value by value.

All are float32 to float32, and NaN stays NaN.
"""

from __future__ import annotations

import numpy as np

from ocr.compiled import vectorised

_ZERO, _HALF, _ONE, _TWO = (np.float32(number) for number in (0, 0.5, 1, 2))
_LOG2_E, _LN_2 = np.float32(np.log2(np.e)), np.float32(np.log(2))
_END = np.float32(87)
"""e to the power of this, and of its negative, is a normal number in float32."""
_E2, _E3, _E4, _E5, _E6, _E7 = (np.float32(1 / factorial) for factorial in (2, 6, 24, 120, 720, 5040))
_L3, _L5, _L7, _L9, _L11, _L13 = (np.float32(1 / odd) for odd in (3, 5, 7, 9, 11, 13))


@vectorised
def sigmoid32(x: np.float32) -> np.float32:
    """1 / (1 + e^-x), which is never below e^-87."""
    return _ONE / (_ONE + exp32(-x))


@vectorised
def exp32(x: np.float32) -> np.float32:
    """e^x for x in ±87, and what is there beyond: 2^n e^f with |f| <= ln 2 / 2, e^f by its Taylor series."""
    x = min(max(x, -_END), _END)
    n = np.floor(x * _LOG2_E + _HALF)
    f = x - n * _LN_2
    y: np.float32 = _E7 * f + _E6
    y = y * f + _E5
    y = y * f + _E4
    y = y * f + _E3
    y = y * f + _E2
    y = (y * f + _ONE) * f + _ONE
    power_of_two: np.float32 = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return y * power_of_two


@vectorised
def log1p32(x: np.float32) -> np.float32:
    """ln(1 + x) for x in 0…1: 2 artanh(x / (2 + x)) by its series (Abramowitz and Stegun, 4.6.22)."""
    s = x / (_TWO + x)
    q = s * s
    y = _L13 * q + _L11
    y = y * q + _L9
    y = y * q + _L7
    y = y * q + _L5
    y = y * q + _L3
    return _TWO * s * (y * q + _ONE)
