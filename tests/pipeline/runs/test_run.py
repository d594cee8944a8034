"""Runs: what is computed, what is reused, what the stores hold."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from pipeline import runner
from pipeline.errors import PipelineError
from pipeline.execution import ExecutorConfig
from pipeline.maintenance import preview
from pipeline.stage import Chunked
from pipeline.store import open_store
from tests.support.toy import (
    STAGES,
    Pack,
    Paint,
    Read,
    make_pipeline,
    outlook,
    run,
    same_as_clean,
    tree,
    write,
)


def test_counts_add_up(raw: Path, tmp_path: Path) -> None:
    results = run(raw, tmp_path / "work")
    for result in results.values():
        assert (result.samples, result.accepted, result.quarantined) == (5, 3, 2)
    assert (results["read"].computed, results["pack"].computed) == (4, 3)
    assert all(0 < result.compute_seconds < result.seconds for result in results.values())
    store = open_store(tmp_path / "work/val/pack.zarr")
    assert store.sample_ids == ("a.txt", "b.txt", "d.txt")
    verdicts = {v["sample_id"]: (v["stage"], v["code"]) for v in store.attributes["quarantined"]}
    assert verdicts == {"c.txt": ("read", "bad"), "e.txt": ("source", "empty")}
    assert open_store(tmp_path / "work/val/read.zarr").attributes["tallies"] == {
        "kind": {"digits": 1, "letters": 2, "long": 1}
    }


def test_a_stage_prepares_before_its_first_sample_and_where_one_is_stale(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    compute = Paint.compute
    monkeypatch.setattr(Paint, "prepare", lambda stage: calls.append("prepare"))
    monkeypatch.setattr(Paint, "compute", lambda stage, of: calls.append("compute") or compute(stage, of))
    run(raw, tmp_path / "work", executor=ExecutorConfig(kind="serial"))
    assert calls == ["prepare", "compute", "compute", "compute"]
    run(raw, tmp_path / "work", executor=ExecutorConfig(kind="serial"))
    assert len(calls) == 4


def test_zarr_and_xarray_open_every_store(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    for name in STAGES:
        path = tmp_path / f"work/val/{name}.zarr"
        group = zarr.open_group(path, mode="r")
        assert list(group["sample_id"][:]) == ["a.txt", "b.txt", "d.txt"]
        assert set(dict(group.members())) == set(dict(group.arrays()))
        dataset = xarray.open_zarr(path)
        assert dataset.sizes["sample"] == 3
        dataset.load()
    store, group = open_store(path), zarr.open_group(path, mode="r")
    for row in range(3):
        assert np.array_equal(store.value("picture", row), group["picture"][row])
        assert np.array_equal(store.value("shade", row), store.arrays["shade"][row])
    read = zarr.open_group(tmp_path / "work/val/read.zarr", mode="r")
    lines, parts = read["lines"][:], read["lines_part_offsets"][:]
    first, last = read["lines_offsets"][:2]
    assert [bytes(lines[a:b]) for a, b in itertools.pairwise(parts[first : last + 1])] == [b"one", b"two"]


def test_printing_a_store_says_what_it_holds(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    store = open_store(tmp_path / "work/val/read.zarr")
    head, *fields = repr(store).splitlines()
    size = f"{store.manifest.size / 1e6:.2f} MB"
    assert head == f"Store {store.name}: read, generation 1, 3 samples, {size}"
    assert [line.split(maxsplit=1) for line in fields] == [
        ["copy", "files in copies/"],
        ["length", "int32 (3,)"],
        ["lines", "uint8 (3, …, …), ragged"],
        ["words", "int16 (3, …), ragged"],
        ["kind", "text"],
    ]
    assert "picture  uint8 (3, 1, 8, 8)\n" in repr(open_store(tmp_path / "work/val/pack.zarr"))


def test_nothing_to_do_builds_and_publishes_nothing(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(raw, tmp_path / "work")
    monkeypatch.setattr(runner, "assemble", None)
    second = run(raw, tmp_path / "work")
    for name in STAGES:
        assert second[name].computed == 0
        assert second[name].generation == first[name].generation == 1


@pytest.mark.parametrize(
    ("edit", "computed"),
    [
        ({"a": "one\nthree"}, (1, 1, 1)),
        ({"a": "one\nTWO"}, (1, 1, 0)),  # the same picture: it stops there
        ({"a": "one\r\ntwo"}, (1, 0, 1)),  # the same lines, and paint reads nothing else
        ({"c": "good luck"}, (1, 1, 1)),
        ({"a": "bad now"}, (1, 0, 0)),
        ({"aa": "new in the middle"}, (1, 1, 1)),
        ({"b": "bad", "d": "bad"}, (2, 0, 0)),
    ],
)
def test_edit_recomputes_one_sample(
    raw: Path, tmp_path: Path, edit: dict[str, str], computed: tuple[int, int, int]
) -> None:
    run(raw, tmp_path / "work")
    write(raw, **edit)
    plan = dict(preview(make_pipeline(raw, tmp_path / "work")))
    assert [plan[name].compute for name in STAGES] == [computed[0]] * 3  # at most
    assert [plan[name].certain for name in STAGES] == [computed[0], 0, 0]
    results = run(raw, tmp_path / "work")
    assert tuple(results[name].computed for name in STAGES) == computed
    same_as_clean(raw, tmp_path)


def test_removed_sample_computes_nothing(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    (raw / "a.txt").unlink()
    results = run(raw, tmp_path / "work")
    assert [results[name].computed for name in STAGES] == [0, 0, 0]
    assert results["pack"].accepted == 2
    same_as_clean(raw, tmp_path)


def test_changed_parameter_reruns_from_its_stage_on(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    before = open_store(tmp_path / "work/val/pack.zarr").path
    results = run(raw, tmp_path / "work", ink=2)
    assert [results[name].computed for name in STAGES] == [0, 3, 3]
    same_as_clean(raw, tmp_path, ink=2)
    assert outlook(make_pipeline(raw, tmp_path / "work", ink=3), "paint").reasons == {
        "stages.paint.ink 2 → 3": 3
    }
    assert before.is_dir()


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])  # dask: tests/pipeline/cluster
def test_executors_give_the_same_bytes(raw: Path, tmp_path: Path, kind: str) -> None:
    write(raw, **{f"n{i}": f"sample {i}\n" * (i % 5 + 1) for i in range(20)})
    run(raw, tmp_path / "reference")
    executor = ExecutorConfig(kind=kind, workers=2, batch=3)
    run(raw, tmp_path / "work", executor=executor)
    for name in STAGES:
        assert tree(tmp_path / f"work/val/{name}.zarr") == tree(tmp_path / f"reference/val/{name}.zarr")


def test_unforeseen_exception_is_a_verdict_that_names_it(raw: Path, tmp_path: Path) -> None:
    write(raw, ab="odd one")
    run(raw, tmp_path / "work")
    verdicts = open_store(tmp_path / "work/val/read.zarr").attributes["quarantined"]
    reason = next(v["reason"] for v in verdicts if v["code"] == "stage_error")
    assert reason == "read failed with ValueError: the stage did not foresee this"


@pytest.mark.parametrize(
    ("stage", "missing", "stale"),
    [
        ("paint", "run `warmstore run read paint`", r"stale read \(text changed\)"),
        (
            "pack",
            r"read \(never built\), paint .*`warmstore run read paint pack`",
            r"paint \(read is stale\); run `warmstore run read paint pack`",
        ),
    ],
)
def test_stage_alone_names_all_that_it_waits_for(
    raw: Path, tmp_path: Path, stage: str, missing: str, stale: str
) -> None:
    with pytest.raises(PipelineError, match=missing):
        run(raw, tmp_path / "work", [stage])
    run(raw, tmp_path / "work")
    write(raw, a="edited")
    with pytest.raises(PipelineError, match=stale):
        run(raw, tmp_path / "work", [stage])


def test_plan_after_part_of_a_run_is_a_plain_statement(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work, ["read"])
    found = dict(preview(make_pipeline(raw, work)))
    assert [p.why for p in found.values()] == [[], ["never built (3)"], ["never built (3)"]]
    assert [(p.compute, p.listed) for p in found.values()] == [(0, 5), (3, 5), (3, 5)]
    run(raw, work)
    for name in ("read", "paint"):
        shutil.rmtree(work / "val/.generations" / name)
    assert dict(preview(make_pipeline(raw, work)))["pack"].why == ["read and paint are not built"]


def test_plan_after_a_removal_names_the_stale_stage_and_no_error(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    (raw / "a.txt").unlink()
    run(raw, work, ["read"])
    found = dict(preview(make_pipeline(raw, work)))
    assert [p.why for p in found.values()] == [[], ["removed (1)"], ["removed (1)", "paint is stale"]]


def test_a_stage_that_reads_other_fields_than_before_says_so(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(raw, tmp_path / "work")
    monkeypatch.setattr(Pack, "reads", {**Pack.reads, "read": ("length", "words", "kind")})
    pipeline = make_pipeline(raw, tmp_path / "work")
    assert outlook(pipeline, "pack").reasons == {"it reads other fields than before": 3}


def test_verdicts_that_are_confirmed_make_no_generation(raw: Path, tmp_path: Path) -> None:
    before = run(raw, tmp_path / "work", ["read"])["read"]
    again = run(raw, tmp_path / "work", ["read"], retry=True)["read"]
    assert (again.computed, again.digest, again.generation) == (1, before.digest, before.generation)
    generations = make_pipeline(raw, tmp_path / "work").workspace.generations(Read())
    assert [path.name[:6] for path in generations.folder.iterdir()] == ["000001"]


def test_why_tells_samples_that_were_quarantined_from_new_ones(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    write(raw, c="good luck", a="bad now", aa="new")
    pipeline = make_pipeline(raw, work)
    assert outlook(pipeline, "read").reasons == {
        "quarantined before (bad)": 1,
        "text changed": 1,
        "new": 1,
    }
    run(raw, work, ["read"])
    why = outlook(pipeline, "paint").reasons
    assert why == {"quarantined before (bad)": 1, "new": 1, "quarantined upstream": 1}
    pipeline = make_pipeline(raw, work, retry=True)
    assert outlook(pipeline, "read").reasons == {"quarantined before (bad)": 1}


def test_declared_fields_survive_the_attributes(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    pipeline = make_pipeline(raw, tmp_path / "work")
    for stage in pipeline.stages:
        store = open_store(pipeline.workspace.generations(stage).path)
        assert tuple(store.declared.values()) == stage.fields()
    assert isinstance(store.declared["picture"], Chunked)
