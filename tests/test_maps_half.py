"""Rounding to float16 gives the bits that NumPy's cast gives, wherever a value lies between two of them."""

from __future__ import annotations

import numpy as np

from ocr.maps import as_float16


def test_every_value_in_0_to_1_is_rounded_as_numpy_rounds_it() -> None:
    halves = np.arange(0x3C01, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = halves[:-1] + np.diff(halves) / 2  # ties go to the even one
    around = (np.nextafter(middles, np.float32(side)) for side in (0, 1))
    values = np.concatenate([halves, middles, *around]).reshape(1, -1)
    assert (as_float16(values).view(np.uint16) == values.astype(np.float16).view(np.uint16)).all()
