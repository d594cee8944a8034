"""Colours that are written to image files, and a judge of the pixels that are read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr.images import Limits, read_header
from ocr.preprocess import DecodeParams, decode_upright
from pipeline.errors import Quarantine

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
BLOCKS = np.kron(np.random.default_rng(0).integers(0, 65536, (10, 13, 7)), np.ones((4, 4, 1), np.int64))
COLOURS = np.random.default_rng(1).integers(0, 256, (256, 3))
GRAY = BLOCKS[..., :1] >> 8
COLOUR = BLOCKS[..., :3] >> 8


def decoded(data: bytes) -> NDArray[np.uint8]:
    """Without a resize, uint8 (H, W, 3)."""
    size = read_header(data, Limits()).size
    return decode_upright(data, DecodeParams(canvas=size)).image.transpose(1, 2, 0)


def refused(data: bytes) -> str:
    with pytest.raises(Quarantine) as caught:
        decoded(data)
    return caught.value.code


def outcome(data: bytes, wanted: NDArray[np.float64], case: object) -> str:
    """Give `right`, or the code of the verdict; wrong pixels fail."""
    try:
        got = decoded(data)
    except Quarantine as verdict:
        return verdict.code
    assert np.abs(got - wanted).max() <= 2, case
    return "right"
