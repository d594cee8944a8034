"""A small, seeded part of the fuzzing that `python -m tests.fuzz_annotations` does at length."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests import fuzz_annotations as fuzz
from tests.support import mutated_labels as mutated
from tests.support import written_labels as written


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


def run_mutations(name: str, cases: int, root: Path) -> Counter[str]:
    """Mutate the fields of a data set in every case; gives how often something was said."""
    (root / "img").mkdir()
    for number, image in enumerate(written.IMAGES):
        Image.new("RGB", (written.WIDTH, written.HEIGHT), (number, 0, 0)).save(root / "img" / image)
    importer = written.IMPORTERS[name]
    words = written.draw(importer.corners)
    outcomes: Counter[str] = Counter()
    for case in range(cases):
        files = copy.deepcopy(importer.write(words))
        dice = random.Random(f"{name} {case}")
        done = mutated.mutate(files, dice) if case else "nothing"
        texts = {path: mutated.encode(path, content) for path, content in files.items()}
        found = mutated.look(root, texts, "auto" if case % 2 else importer.format)
        wrong = mutated.judge(words, texts, found)
        assert wrong is None, f"{name} {case}: {done}: {wrong}"
        assert case or (not found.said and len(found.words) == len(words))
        outcomes["said" if found.said else "read"] += 1
    return outcomes


@pytest.mark.parametrize("name", written.IMPORTERS)
def test_a_mutated_field_gives_what_was_drawn_or_a_verdict(name: str, tmp_path: Path) -> None:
    outcomes = run_mutations(name, 40, tmp_path)
    assert set(outcomes) == {"said", "read"}


@pytest.mark.slow
@pytest.mark.parametrize("name", written.IMPORTERS)
def test_many_mutated_fields_give_what_was_drawn_or_a_verdict(name: str, tmp_path: Path) -> None:
    assert set(run_mutations(name, 600, tmp_path)) == {"said", "read"}


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
