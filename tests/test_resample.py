"""Resizing against torch, which must give the same bytes of the turned image."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ocr.images import resize

SIDES = st.integers(1, 9) | st.integers(1, 700)


def by_torch(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize the turned image, because torch begins with the columns."""
    turned = torch.from_numpy(np.ascontiguousarray(rgb.transpose(1, 0, 2))).permute(2, 0, 1).unsqueeze(0)
    resized = torch.nn.functional.interpolate(turned, size[::-1], mode="bilinear", antialias=True)
    return resized.squeeze(0).permute(2, 1, 0).numpy()


@settings(deadline=None)  # the first call compiles
@given(size=st.tuples(SIDES, SIDES), wanted=st.tuples(SIDES, SIDES), seed=st.integers(0, 2**32 - 1))
@example(size=(3000, 2), wanted=(1, 640), seed=0)
@example(size=(2, 9000), wanted=(640, 1), seed=0)
def test_the_bytes_are_those_of_torch(size: tuple[int, int], wanted: tuple[int, int], seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(rgb, wanted), by_torch(rgb, wanted))


@settings(deadline=None)  # the first call compiles
@given(size=st.tuples(SIDES, SIDES), wanted=st.tuples(SIDES, SIDES), value=st.sampled_from([0, 1, 254, 255]))
@example(size=(3_000_000, 1), wanted=(2, 1), value=255)  # rounded weights are 1.005 together
def test_an_even_image_stays_as_it_is(size: tuple[int, int], wanted: tuple[int, int], value: int) -> None:
    assert (resize(np.full((*size, 3), value, np.uint8), wanted) == value).all()


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (40, 30)])
def test_any_strides_are_taken(size: tuple[int, int]) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (size[0] * 2, size[1] * 2, 4), dtype=np.uint8)
    for view in (wide[::2, ::2, :3], wide[::-2, ::-2, 2::-1]):
        np.testing.assert_array_equal(resize(view, (17, 23)), by_torch(view, (17, 23)))


PEAK = """
import re
from pathlib import Path
import numpy as np
from ocr.images import resize

def peak():
    return int(re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[0]) << 10

rgb = np.full((1, 5_000_000, 3), 255, np.uint8)
resize(rgb[:, :2], (1, 1))
before = peak()
resize(rgb, (1, 640))
print((peak() - before) / rgb.nbytes)
"""


def test_a_strip_takes_the_memory_of_its_pixels_once_more() -> None:
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.5
