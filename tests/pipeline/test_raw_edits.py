"""Raw files that change, move or go bad: no edit is missed, and nothing else is read again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.maintenance import verify_store
from pipeline.store import open_store
from tests.support.toy import STAGES, make_pipeline, outlook, repair, run, write


def test_nothing_accepted_publishes_nothing(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    before = open_store(work / "val/read.zarr").path
    for path in raw.glob("*.txt"):
        write(raw, **{path.stem: "bad"})
    with pytest.raises(PipelineError, match="accepted none of the 4 samples"):
        run(raw, work)
    assert open_store(work / "val/read.zarr").path == before


@pytest.mark.parametrize("restore_mtime", [False, True])
def test_no_edit_is_missed(raw: Path, tmp_path: Path, restore_mtime: bool) -> None:
    """Same size, within the clock's resolution, even with the old mtime put back."""
    work = tmp_path / "work"
    path = raw / "b.txt"
    for text in ("23456", "34567", "45678"):
        before = path.stat()
        path.write_text(text)
        if restore_mtime:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        run(raw, work)
        store = open_store(work / "val/read.zarr")
        assert bytes(store.value("lines", store.rows["b.txt"])[0]).decode() == text


@pytest.mark.parametrize("text", ["1234", "54321", "123456"])
@pytest.mark.parametrize("age", [-3600, 3600])
def test_an_edit_long_after_the_last_run_is_seen_whichever_way_it_goes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, age: int
) -> None:
    """In place, to a shorter or longer text or one as long, with a time before or after."""
    work = tmp_path / "work"
    later = time.time_ns() + 60 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    for _ in range(2):  # the first links files, which alters a time of theirs
        run(raw, work, ["read"])
    (raw / "b.txt").write_text(text)
    os.utime(raw / "b.txt", (time.time() + age, time.time() + age))
    pipeline = make_pipeline(raw, work)
    assert outlook(pipeline, "read").plan.stale.tolist() == [1]
    assert pipeline.hashes.hashed == 1


@pytest.mark.parametrize(("text", "mends"), [("123456", run), ("54321", partial(repair, name="read"))])
def test_the_link_to_a_file_that_was_edited_in_place_and_replaced_is_made_anew(
    raw: Path, tmp_path: Path, text: str, mends: Callable[[Path, Path], object]
) -> None:
    digest = run(raw, tmp_path / "work")["read"].digest
    (raw / "b.txt").write_text(text)
    write(raw, b="12345")  # a new file
    assert [found.file for found in verify_store(tmp_path / "work/val/read.zarr").damaged] == ["copies/b.txt"]
    mends(raw, tmp_path / "work")
    assert verify_store(tmp_path / "work/val/read.zarr").passed
    assert open_store(tmp_path / "work/val/read.zarr").digest == digest


def test_unchanged_files_are_not_hashed_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time_ns() + 60 * 10**9
    work = tmp_path / "work"
    run(raw, work)
    monkeypatch.setattr(time, "time_ns", lambda: later)
    for hashed in (4, 0):
        pipeline = make_pipeline(raw, work)
        outlook(pipeline, "read")
        assert pipeline.hashes.hashed == hashed
    os.utime(raw / "a.txt")
    pipeline = make_pipeline(raw, work)
    assert outlook(pipeline, "read").state == "fresh"
    assert pipeline.hashes.hashed == 1
    pipeline = make_pipeline(raw, work, rehash=True)
    outlook(pipeline, "read")
    assert pipeline.hashes.hashed == 4


def test_moved_root_reruns_nothing(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    moved = tmp_path / "elsewhere"
    raw.rename(moved)
    results = run(moved, tmp_path / "work")
    assert [results[name].computed for name in STAGES] == [0, 0, 0]
