"""Functions that loops are compiled with: those of double precision, within float32's rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ocr.elementary import exp32, log1p32, sigmoid32
from ocr.map_regions import probability_map

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(FLOATS.filter(lambda x: abs(x) <= 87))
def test_exponentials(x: float) -> None:
    assert exp32(np.float32(x)) == pytest.approx(np.exp(x), rel=4e-7)


@given(st.floats(0, 1, width=32))
def test_logarithms(x: float) -> None:
    assert log1p32(np.float32(x)) == pytest.approx(np.log1p(x), rel=4e-7)


@given(FLOATS)
def test_sigmoids(x: float) -> None:
    expected = 1 / (1 + np.exp(-max(x, -87.0)))
    assert sigmoid32(np.float32(x)) == pytest.approx(expected, rel=4e-7)


@pytest.mark.parametrize("function", [exp32, log1p32, sigmoid32])
def test_nan_stays(function: Callable[[np.float32], np.float32]) -> None:
    assert np.isnan(function(np.float32("nan")))


def logits(side: int) -> NDArray[np.float32]:
    return np.linspace(-120, 120, side * side, dtype=np.float32).reshape(side, side)


def test_a_map_rises_with_its_logits_and_has_their_layout() -> None:
    rising = logits(333)
    found = probability_map(rising)
    assert (np.diff(found.ravel()) >= 0).all() and 0 < found.min() < 1e-37 and found.max() == 1
    assert np.array_equal(probability_map(rising.T), found.T)
    assert np.array_equal(found == 0.5, rising == 0)


def test_maps_that_are_held_are_not_written_over() -> None:
    held = probability_map(logits(64))
    before = held.copy()
    probability_map(-logits(64))
    assert np.array_equal(held, before)
