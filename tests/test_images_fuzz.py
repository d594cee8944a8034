"""A small, seeded part of the fuzzing that `python -m tests.fuzz_images` does at length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ocr.preprocess import DecodeParams, decode_upright
from pipeline.errors import Quarantine
from tests import fuzz_images as fuzz


def test_the_files_that_are_mutated_decode(tmp_path: Path) -> None:
    for data in fuzz.seeds():
        assert fuzz.attempt(data, tmp_path) == "decoded"


def test_mutated_files_are_decoded_or_quarantined(tmp_path: Path) -> None:
    files = fuzz.seeds()
    outcomes = {fuzz.attempt(fuzz.case(number, 7, files), tmp_path) for number in range(400)}
    assert {"decoded", "corrupt", "truncated", "too_many_pixels", "unsupported_format"} <= outcomes


def test_a_png_is_refused_or_shows_the_pixels_of_the_file_that_it_was_made_from() -> None:
    """Checksums guard what decides pixels, so chance cannot change them."""
    params, accepted = DecodeParams(canvas=(24, 40)), 0
    files = [data for data in fuzz.seeds() if data.startswith(b"\x89PNG") and b"eXIf" not in data]
    wanted = [decode_upright(data, params).image for data in files]
    for number in range(600):
        try:
            got = decode_upright(fuzz.case(number, 5, files), params).image
        except Quarantine:
            continue
        accepted += 1
        np.testing.assert_array_equal(got, wanted[number % len(files)])
    assert accepted >= 5


def test_a_case_can_be_repeated() -> None:
    files = fuzz.seeds()
    assert fuzz.case(42, 1, files) == fuzz.case(42, 1, files) != fuzz.case(42, 2, files)


@pytest.mark.slow
def test_the_long_run_works_under_its_cap() -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.fuzz_images", "--cases", "500", "--seed", "3"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("500 cases")
