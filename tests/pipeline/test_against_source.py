"""`verify --against-source` tells, sample by sample, what is stored otherwise than the source gives it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import Quarantine, StoreError, UnknownSampleError
from pipeline.maintenance import Verification, compare_with_source
from pipeline.stage import Inputs
from pipeline.store import open_store
from tests.support.toy import STAGES, Paint, make_pipeline, run, write


def compare(raw: Path, work: Path, *only: str, **parameters: Any) -> dict[str, Verification]:
    return compare_with_source(make_pipeline(raw, work, **parameters), STAGES, frozenset(only))


def told(found: Mapping[str, Verification]) -> dict[str, list[str]]:
    """What differs, by stage: sample and problem in one line."""
    lines = {name: [" ".join(one.values()) for one in result.differs] for name, result in found.items()}
    return {name: differs for name, differs in lines.items() if differs}


def test_what_is_as_it_was_passes(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    found = compare(raw, tmp_path / "work")
    assert [(one.recomputed, one.passed) for one in found.values()] == [(4, True)] * 3
    assert [one.recomputed for one in compare(raw, tmp_path / "work", "a.txt").values()] == [1] * 3


def test_a_stage_that_gives_other_values_each_time_is_found(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Paint.compute

    def compute_otherwise(self: Paint, inputs: Inputs) -> Mapping[str, Any]:
        values = compute(self, inputs)
        return {**values, "picture": values["picture"] + np.uint8(inputs.sample_id == "b.txt")}

    run(raw, tmp_path / "work")
    monkeypatch.setattr(Paint, "compute", compute_otherwise)
    found = compare(raw, tmp_path / "work")
    assert told(found) == {name: ["b.txt picture differs"] for name in ("paint", "pack")}
    assert [one.passed for one in found.values()] == [True, False, False]
    assert told(compare(raw, tmp_path / "work", "a.txt", "d.txt")) == {}


def test_a_stage_that_refuses_now_what_it_took_is_found_and_the_other_way_round(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Paint.compute

    def refuse(sample_id: str, patch: pytest.MonkeyPatch) -> None:
        def compute_or_refuse(self: Paint, inputs: Inputs) -> Mapping[str, Any]:
            if inputs.sample_id == sample_id:
                raise Quarantine("faint", "no ink")
            return compute(self, inputs)

        patch.setattr(Paint, "compute", compute_or_refuse)

    refuse("a.txt", monkeypatch)
    run(raw, tmp_path / "work")
    assert told(compare(raw, tmp_path / "work")) == {}
    refuse("d.txt", monkeypatch)
    lines = [
        "a.txt is not stored, and the source gives it",
        "d.txt is stored as accepted and the source gives faint: no ink",
    ]
    assert told(compare(raw, tmp_path / "work")) == {"paint": lines, "pack": lines}


def test_what_came_and_went_since_is_told(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    (raw / "a.txt").unlink()
    write(raw, n="new", o="")
    lines = [
        "n.txt is not stored, and the source gives it",
        "o.txt is stored as not there and the source gives empty: o.txt is empty",
        "a.txt is stored and not listed any more",
    ]
    assert told(compare(raw, tmp_path / "work")) == dict.fromkeys(STAGES, lines)
    assert told(compare(raw, tmp_path / "work", "a.txt")) == dict.fromkeys(STAGES, lines[2:])
    assert told(compare(raw, tmp_path / "work", "b.txt")) == {}
    with pytest.raises(UnknownSampleError, match=r"split val has no sample z\.txt"):
        compare(raw, tmp_path / "work", "b.txt", "z.txt")


def test_damage_is_told_and_the_rest_is_compared(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    with open_store(tmp_path / "work/val/pack.zarr") as store:
        store.chunk_file("picture", store.rows["b.txt"]).unlink()
    (line,) = told(compare(raw, tmp_path / "work"))["pack"]
    assert line.startswith("b.txt pack of b.txt in ") and "picture cannot be read" in line


def test_another_recipe_is_refused_with_what_differs(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    with pytest.raises(StoreError, match=r"paint\.zarr was made by another recipe .*paint\.ink 1 → 2"):
        compare(raw, tmp_path / "work", ink=2)
