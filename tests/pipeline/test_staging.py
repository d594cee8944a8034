"""Chunks on their way from the staging folder into a generation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import failpoints
from pipeline.errors import PipelineError, Quarantine
from pipeline.execution import Executor, ExecutorConfig, predicted_bytes
from pipeline.maintenance import preview
from pipeline.runner import run_stages
from pipeline.stage import Inputs
from pipeline.store import open_store
from tests.support.toy import (
    STAGES,
    Paint,
    Silent,
    assert_published_is_whole,
    clean_digests,
    computed_by,
    make_pipeline,
    run,
    tree,
    write,
)

ONE_BY_ONE = ExecutorConfig(kind="serial", batch=1)


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    failpoints.arm("")


def _break_off(raw: Path, work: Path, script: str) -> None:
    run(raw, work, ["read"])
    failpoints.arm(script)
    with pytest.raises(PipelineError, match="rerun continues"):
        run(raw, work, ["paint"], ONE_BY_ONE)
    failpoints.arm("")


def test_a_stray_file_beside_finished_chunks_stays_behind(raw: Path, tmp_path: Path) -> None:
    """What a worker that was given up left in the staging folder is no part of the generation."""
    work = tmp_path / "work"
    _break_off(raw, work, "chunk.write:4:eio")
    (work / "val/.staging/paint/stray.picture").write_bytes(b"stray")
    run(raw, work)
    assert clean_digests(raw, tmp_path / "clean") == clean_digests(raw, work)
    assert tree(work / "val/paint.zarr") == tree(tmp_path / "clean/val/paint.zarr")


@pytest.mark.parametrize(
    ("script", "finished"),
    [
        ("chunk.write:5:eio", 2),  # two chunks a sample
        ("manifest.write:1:eio", 4),
        ("publish.rename:1:eio", 4),
    ],
)
def test_plan_counts_what_a_broken_run_has_finished(
    raw: Path, tmp_path: Path, script: str, finished: int
) -> None:
    work = tmp_path / "work"
    write(raw, c="good luck")
    _break_off(raw, work, script)
    before = sorted(path for path in work.rglob("*") if path.name != ".hashes")
    found = dict(preview(make_pipeline(raw, work)))
    assert sorted(path for path in work.rglob("*") if path.name != ".hashes") == before
    assert [found[name].compute for name in STAGES] == [0, 4 - finished, 4]
    assert [found[name].finished for name in STAGES] == [0, finished, 0]
    assert found["paint"].why == ["never built (4)", f"{finished} finished by an interrupted run"]
    assert found["paint"].predicted_bytes == predicted_bytes(Paint().fields()) * (4 - finished)
    result = run(raw, work)["paint"]
    assert (result.computed, result.reused) == (found["paint"].compute, found["paint"].finished)
    assert all(one.finished == 0 and one.fresh for _, one in preview(make_pipeline(raw, work)))


def test_what_stands_on_a_stale_stage_is_counted_as_still_to_compute(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    _break_off(raw, work, "manifest.write:1:eio")
    write(raw, a="edited\nlines")
    found = dict(preview(make_pipeline(raw, work)))["paint"]
    assert (found.compute, found.finished) == (3, 0)


def test_finished_chunks_serve_at_other_places(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample in front of those that a broken run finished moves them all by one."""
    work = tmp_path / "work"
    write(raw, c="good luck")
    _break_off(raw, work, "chunk.write:7:eio")  # three samples of two chunks each are done
    write(raw, **{"0": "in front"})
    run(raw, work, ["read"])
    computed = computed_by(Paint, monkeypatch)
    result = run(raw, work, ["paint"])["paint"]
    assert len(computed) == result.samples - 3 and "0.txt" in computed
    assert (result.computed, result.reused) == (len(computed), 3)
    run(raw, work)
    assert clean_digests(raw, tmp_path / "clean") == clean_digests(raw, work)


def test_chunks_behind_a_quarantined_sample_move_up(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(raw, c="good luck")
    run(raw, tmp_path / "all")

    compute = Paint.compute

    def refuse_b(self: Paint, inputs: Inputs) -> Mapping[str, Any]:
        if inputs.sample_id == "b.txt":
            raise Quarantine("bad", "b is refused")
        return compute(self, inputs)

    monkeypatch.setattr(Paint, "compute", refuse_b)
    run(raw, tmp_path / "work")
    assert_published_is_whole(tmp_path / "work")
    store, wanted = (open_store(tmp_path / name / "val/paint.zarr") for name in ("work", "all"))
    assert list(store.sample_ids) == [name for name in wanted.sample_ids if name != "b.txt"]
    for name in store.sample_ids:
        one, other = (s.value("picture", s.rows[name]) for s in (store, wanted))
        assert np.array_equal(one, other)


def test_staging_deleted_under_a_run_is_one_error(raw: Path, tmp_path: Path) -> None:
    pipeline = make_pipeline(raw, tmp_path / "work")

    class Saboteur(Silent):
        def begin(self, split: str, stage: str, samples: int):  # type: ignore[no-untyped-def]
            shutil.rmtree(pipeline.workspace.folder)
            return super().begin(split, stage, samples)

    with pytest.raises(PipelineError, match="rerun continues"):
        list(run_stages(pipeline, ["read"], Executor(ExecutorConfig(kind="serial")), Saboteur()))
    run(raw, tmp_path / "work")


def test_records_deleted_under_a_run_are_told(raw: Path, tmp_path: Path) -> None:
    class Saboteur(Silent):
        def begin(self, split: str, stage: str, samples: int):  # type: ignore[no-untyped-def]
            def delete_records(count: int) -> None:
                for record in tmp_path.glob("work/val/.staging/read/*.records"):
                    record.unlink()

            return delete_records

    pipeline = make_pipeline(raw, tmp_path / "work")
    with pytest.raises(
        PipelineError, match=r"read of a\.txt was computed and is gone from the staging folder"
    ):
        list(run_stages(pipeline, ["read"], Executor(ExecutorConfig(kind="serial")), Saboteur()))
    run(raw, tmp_path / "work")


def test_finished_chunks_become_those_of_the_generation_and_are_not_written_again(
    raw: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    run(raw, work, ["read"])
    failpoints.arm("manifest.write:1:eio")
    with pytest.raises(PipelineError, match="rerun continues"):
        run(raw, work, ["paint"])
    failpoints.arm("")
    staged = {path.stat().st_ino for path in (work / "val/.staging/paint").glob("*.picture")}
    run(raw, work, ["paint"])
    with open_store(work / "val/paint.zarr") as store:
        assert {store.chunk_file("picture", row).stat().st_ino for row in range(len(store))} == staged
