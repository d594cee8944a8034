"""A probe tells what many samples take, leaves nothing behind, and holds while the recipe is the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import failpoints
from pipeline.execution import ExecutorConfig
from pipeline.maintenance import (
    Finding,
    Probe,
    collect_probes,
    measure,
    preview,
    remember_probe,
    remember_rate,
    remembered_probe,
)
from pipeline.store import hold_current, open_store
from tests.support.toy import CONTEXT, STAGES, make_pipeline, run, tree, write

SERIAL = ExecutorConfig(kind="serial")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Texts of one length: a few of them are as all are."""
    write(tmp_path / "many", **{f"t{number:02}": f"line\n{number:02}" * 9 for number in range(40)})
    return tmp_path / "many"


def test_a_few_samples_tell_the_bytes_of_all_and_leave_nothing_behind(many: Path, tmp_path: Path) -> None:
    work, beside = tmp_path / "work", tmp_path / "beside"
    run(many, work)
    beside.mkdir()
    pipeline = make_pipeline(many, work)
    samples, before = pipeline.samples(), tree(work)
    found = measure(pipeline, samples[:30], SERIAL, beside)
    assert (list(beside.iterdir()), tree(work)) == ([], before)
    for name in STAGES:
        stored = open_store(work / "val" / f"{name}.zarr").manifest.size
        assert found[name].size(40) == pytest.approx(stored, rel=0.25)
        assert found[name].seconds(40, 1) > 0


def test_what_a_killed_probe_left_goes_with_the_next_and_with_gc(many: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    child = CONTEXT.Process(target=_killed, args=(many, tmp_path / "work", beside))
    child.start()
    child.join()
    left = list(beside.iterdir())
    assert (child.exitcode, len(left)) == (-9, 1)
    assert collect_probes(beside, dry_run=True).removed == left == list(beside.iterdir())
    held, _ = hold_current(left[0])
    assert collect_probes(beside, dry_run=False).in_use == left == list(beside.iterdir())
    os.close(held)
    found = collect_probes(beside, dry_run=False)
    assert (found.removed, found.freed > 0, list(beside.iterdir())) == (left, True, [])
    left[0].mkdir()
    pipeline = make_pipeline(many, tmp_path / "work")
    measure(pipeline, pipeline.samples()[:4], SERIAL, beside)
    assert list(beside.iterdir()) == []


def _killed(many: Path, work: Path, beside: Path) -> None:
    pipeline = make_pipeline(many, work)
    failpoints.arm("publish.rename:3:kill")
    measure(pipeline, pipeline.samples()[:4], SERIAL, beside)


def test_workers_share_what_is_not_one_processs() -> None:
    found = Finding(recipe="", start=2.0, alone=0.01, shared=0.1, bytes=50.0, refused=0.2)
    assert found.seconds(1000, 1) == pytest.approx(112)
    assert found.seconds(1000, 10) == pytest.approx(22)
    assert found.size(1000) == 40_000


def test_a_plan_goes_by_the_probe_while_the_recipe_is_the_same(many: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    pipeline = make_pipeline(many, work)
    stages = measure(pipeline, pipeline.samples()[:20], SERIAL, tmp_path)
    remember_probe(work, "val", Probe(listed=40, memory=1, each=1.0, worker=0, stages=stages))
    found = remembered_probe(make_pipeline(many, work))
    assert found is not None
    assert found.stages == stages
    other = remembered_probe(make_pipeline(many, work, ink=2))
    assert other is not None
    assert list(other.stages) == ["read"]
    predicted = {name: one.predicted_bytes for name, one in preview(make_pipeline(many, work))}
    assert predicted == {name: 40 * round(stages[name].bytes) for name in STAGES}


@pytest.mark.parametrize(
    "spoilt", [b"", b"[]", b'{"val": {"stages": 3}}', b'{"val": {"stages": {"read": {}}}}']
)
def test_a_spoilt_memory_is_none(many: Path, tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".probe").write_bytes(spoilt)
    assert remembered_probe(make_pipeline(many, tmp_path / "work")) is None


def test_without_a_probe_a_plan_goes_by_the_runs_before(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    result = run(raw, work)["read"]
    for name, seconds, computed in (
        ("read", 6.0, 3),
        ("read", 100.0, 1),
        ("paint", 1.0, 2),
        ("paint", 5.0, 0),
    ):
        remember_rate(work, name, replace(result, seconds=seconds, computed=computed))
    write(raw, a="edited", n="new")
    found = {name: one.predicted_seconds for name, one in preview(make_pipeline(raw, work))}
    assert found == {"read": 4.0, "paint": 1.0, "pack": None}


@pytest.mark.parametrize("spoilt", [b"", b"[]", b'{"read": null}', b'{"read": "fast"}'])
def test_spoilt_rates_are_none_and_are_written_anew(raw: Path, tmp_path: Path, spoilt: bytes) -> None:
    work = tmp_path / "work"
    result = run(raw, work, ["read"])["read"]
    (work / ".rates").write_bytes(spoilt)
    assert [one.predicted_seconds for _, one in preview(make_pipeline(raw, work))] == [None] * 3
    remember_rate(work, "read", replace(result, seconds=3.0, computed=3))
    write(raw, a="edited")
    assert next(one.predicted_seconds for _, one in preview(make_pipeline(raw, work))) == 1.0
