"""Chunks and files of runs: shared, packed anew, told when they are damaged, synced together."""

from __future__ import annotations

import itertools
import shutil
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline import files
from pipeline.errors import PipelineError, StoreError
from pipeline.execution import Executor, ExecutorConfig, predicted_bytes
from pipeline.maintenance import preview
from pipeline.planning import COMPUTE, packed_samples
from pipeline.runner import run_stages
from pipeline.stage import Inputs
from pipeline.store import open_store, zarr_metadata
from tests.support.toy import (
    SIDE,
    STAGES,
    TEXTS,
    Pack,
    Paint,
    Read,
    make_pipeline,
    run,
    same_as_clean,
    tree,
    write,
)


def test_unchanged_chunks_are_the_same_files(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    old = open_store(tmp_path / "work/val/pack.zarr")
    write(raw, a="another\nstart")
    run(raw, tmp_path / "work")
    new = open_store(tmp_path / "work/val/pack.zarr")
    for name in ("picture", "shade"):
        kept = [new.chunk_file(name, i).samefile(old.chunk_file(name, i)) for i in range(3)]
        assert kept == [False, True, True]


@pytest.mark.parametrize("name", STAGES)
def test_missing_or_damaged_chunk_is_an_error(raw: Path, tmp_path: Path, name: str) -> None:
    run(raw, tmp_path / "work")
    path = tmp_path / f"work/val/{name}.zarr"
    arrays = [file for file in tree(path) if file.rpartition("/")[2].startswith("c.")]
    for file in arrays:
        target = path.resolve() / file
        data = target.read_bytes()
        target.unlink()
        with pytest.raises(StoreError, match="warmstore repair"):
            open_store(path).arrays[file.partition("/")[0]][:]
        with pytest.raises(StoreError, match="warmstore repair"):
            _read_all(path)
        for damaged in (data[:-1], data[:-1] + bytes([data[-1] ^ 1])):
            target.write_bytes(damaged)
            if not file.startswith(("fingerprint", "input", "sample_id")):
                with pytest.raises(StoreError, match="warmstore repair"):
                    _read_all(path)
        target.write_bytes(data)
    _read_all(path)


def test_larger_sets_share_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_metadata, "MAX_CHUNKS", 3)
    raw = tmp_path / "raw"
    write(raw, **{f"n{i:02}": f"sample {i}" for i in range(10)})
    run(raw, tmp_path / "work")
    assert open_store(tmp_path / "work/val/pack.zarr").samples_per_chunk == 4
    more = {f"n{i}": f"sample {i}" for i in range(10, 13)}  # too many for chunks of four
    for edit in ({"n03": "edited"}, {"n031": "inserted"}, {"n05": "bad"}, more):
        write(raw, **edit)
        run(raw, tmp_path / "work")
        same_as_clean(raw, tmp_path)


def test_a_damaged_sample_is_told_when_its_chunk_is_packed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_metadata, "MAX_CHUNKS", 3)
    raw, work = tmp_path / "raw", tmp_path / "work"
    write(raw, **{f"n{i:02}": "line\n" * (i + 1) for i in range(10)})
    run(raw, work)
    store = open_store(work / "val/pack.zarr")
    chunk = store.chunk_file("picture", 1)
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1  # in the third of four samples
    chunk.write_bytes(data)
    write(raw, n="in front")
    with pytest.raises(StoreError, match=r"pack of n06.txt .* picture does not match its checksum"):
        run(raw, work)
    assert store.path == open_store(work / "val/pack.zarr").path


def test_samples_of_a_chunk_are_computed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_metadata, "MAX_CHUNKS", 3)
    write(tmp_path / "raw", **{f"n{i}": f"sample {i}" for i in range(10)})
    sizes: list[list[int]] = []

    class Noting(Executor):
        def run(self, kind: Any, function: Any, tasks: deque[Any], *rest: Any) -> Generator[Any]:
            sizes.extend([len(group.items) for group in task.groups] for task in tasks)
            yield from super().run(kind, function, tasks, *rest)

    pipeline = make_pipeline(tmp_path / "raw", tmp_path / "work")
    dict(run_stages(pipeline, ["read"], Noting(ExecutorConfig(kind="serial", batch=5))))
    assert sizes == [[4, 4], [2]]


def test_a_store_of_one_sample_has_chunks_of_one(tmp_path: Path) -> None:
    write(tmp_path / "raw", a="one\ntwo")
    run(tmp_path / "raw", tmp_path / "work")
    arrays = open_store(tmp_path / "work/val/read.zarr").arrays
    assert {name: arrays[name].chunks for name in ("sample_id", "kind", "length")} == dict.fromkeys(
        ("sample_id", "kind", "length"), (1,)
    )


def test_bytes_are_predicted_by_shape_and_a_third_where_they_are_compressed() -> None:
    assert predicted_bytes(Pack().fields()) == SIDE * SIDE * (1 + 2)
    assert predicted_bytes(Paint().fields()) == SIDE * SIDE // 3 + 2 * SIDE * SIDE // 3
    assert predicted_bytes(Read().fields()) == 0


def test_samples_that_exchange_their_contents_are_not_up_to_date(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    write(raw, a=TEXTS["d"], d=TEXTS["a"])
    results = run(raw, tmp_path / "work")
    assert [results[name].computed for name in STAGES] == [2, 0, 0]
    same_as_clean(raw, tmp_path)


@pytest.mark.parametrize(
    ("rows", "packed"),
    [
        (range(10), 0),
        ([COMPUTE] * 10, 2),  # the last chunk is not full, so no task can write it whole
        ([0, 1, COMPUTE, 3, *range(4, 10)], 4),
        ([*range(4), COMPUTE, COMPUTE, COMPUTE, COMPUTE, 8, 9], 0),
        ([0, 1, 2, 3, COMPUTE, 4, 5, 6, 7, 8, 9], 7),  # inserted
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], 9),  # removed
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], 1),
        (range(3), 3),  # a chunk each from here on
    ],
)
def test_chunks_that_are_packed_anew_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Sequence[int], packed: int
) -> None:
    monkeypatch.setattr(zarr_metadata, "MAX_CHUNKS", 3)
    raw = tmp_path / "raw"
    write(raw, **{f"n{i:02}": f"sample {i}" for i in range(10)})
    run(raw, tmp_path / "work", ["read"])
    assert packed_samples(np.array(rows), open_store(tmp_path / "work/val/read.zarr")) == packed


def test_plan_and_space_check_count_chunks_that_are_packed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_metadata, "MAX_CHUNKS", 3)
    raw, work = tmp_path / "raw", tmp_path / "work"
    write(raw, **{f"n{i:02}": f"sample {i}" for i in range(10)})
    run(raw, work)
    write(raw, n031="inserted")
    store = open_store(work / "val/pack.zarr")
    previews = dict(preview(make_pipeline(raw, work)))
    assert [previews[name].compute for name in STAGES] == [1, 1, 1]
    assert previews["pack"].predicted_bytes == (1 + 7) * (store.manifest.size // 10)
    one = predicted_bytes(Paint().fields())
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=8 * one - 1))
    with pytest.raises(PipelineError, match="paint of split val needs about"):
        run(raw, work)


def _read_all(path: Path) -> None:
    store = open_store(path)
    assert store.fingerprints.shape == (len(store), 16)
    assert len(store.inputs) == len(store.sample_ids) == len(store)
    for name, row in itertools.product(store.declared, range(len(store))):
        store.value(name, row)


def test_many_new_files_are_synced_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "raw", **{f"n{i}": f"sample {i}" for i in range(40)})
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync", synced.append)
    run(tmp_path / "raw", tmp_path / "work", ["read"])
    assert not synced
    monkeypatch.setattr(files, "_sync_file_system", lambda path: False)
    write(tmp_path / "raw", n3="edited")
    run(tmp_path / "raw", tmp_path / "work", ["read"])
    names = {path.name for path in synced}
    assert {"manifest.json", "n3.txt", "zarr.json"} <= names
    assert "n4.txt" not in names  # taken over from the generation before, which is on the disk


def test_two_files_of_one_name_are_an_error(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second would replace the first when it is moved into the generation."""
    compute = Read.compute

    def compute_under_one_name(self: Read, inputs: Inputs) -> Mapping[str, Any]:
        found = compute(self, inputs)
        return {**found, "copy": replace(found["copy"], path="same.txt")}

    monkeypatch.setattr(Read, "compute", compute_under_one_name)
    with pytest.raises(PipelineError, match=r"File exists .*same\.txt"):
        run(raw, tmp_path / "work", ["read"])
    assert not (tmp_path / "work/val/read.zarr").exists()
