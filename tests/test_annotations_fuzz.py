"""A small, seeded part of the fuzzing that `python -m tests.fuzz_annotations` does at length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import fuzz_annotations as fuzz


def test_the_files_that_are_mutated_are_listed(tmp_path: Path) -> None:
    root = fuzz.lay_out(tmp_path)
    outcomes = [fuzz.attempt(data, number, root) for number, data in enumerate(fuzz.seeds())]
    assert set(outcomes) == {"listed"}


def test_mutated_files_are_listed_or_refused(tmp_path: Path) -> None:
    files, root = fuzz.seeds(), fuzz.lay_out(tmp_path)
    outcomes = {fuzz.attempt(fuzz.case(number, 7, files), number, root) for number in range(600)}
    assert outcomes == {"listed", "quarantined", "refused"}


def test_a_case_can_be_repeated() -> None:
    files = fuzz.seeds()
    assert fuzz.case(42, 1, files) == fuzz.case(42, 1, files) != fuzz.case(42, 2, files)


@pytest.mark.slow
def test_the_long_run_works_under_its_cap() -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.fuzz_annotations",
        "--cases",
        "500",
        "--seed",
        "3",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("500 cases")
