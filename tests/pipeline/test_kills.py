"""Kills at every scripted place: old or new, never half, and the next run finishes."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from pipeline import failpoints
from pipeline.errors import PipelineError
from pipeline.execution import ExecutorConfig
from pipeline.store import open_store
from pipeline.workspace import exclusive
from tests.support.toy import (
    CONTEXT,
    RUN_POINTS,
    assert_published_is_whole,
    clean_digests,
    edit,
    exit_code,
    run,
    write,
)

KILLS = 60


@pytest.mark.slow
@pytest.mark.parametrize("point", RUN_POINTS)
def test_kill_spread_over_all_visits(raw: Path, tmp_path: Path, point: str) -> None:
    base = tmp_path / "base"
    run(raw, base)
    _edit_many(raw)
    wanted = clean_digests(raw, tmp_path / "clean")
    visits = _visits(point, raw, base, tmp_path)
    for visit in sorted({round(i * (visits - 1) / (KILLS - 1)) + 1 for i in range(KILLS)}):
        work = tmp_path / f"work{visit}"
        shutil.copytree(base, work, symlinks=True)
        assert exit_code(f"{point}:{visit}:kill", raw, work) == -9
        assert_published_is_whole(work)
        assert clean_digests(raw, work) == wanted
        assert not list(work.rglob("*.tmp"))
        shutil.rmtree(work)


def test_the_kills_are_two_hundred(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "base")
    _edit_many(raw)
    counts = {point: _visits(point, raw, tmp_path / "base", tmp_path) for point in RUN_POINTS}
    assert all(counts.values()), counts
    assert sum(min(count, KILLS) for count in counts.values()) >= 200, counts


def _edit_many(raw: Path) -> None:
    edit(raw)
    write(raw, **{f"n{i}": f"sample {i}" for i in range(4)})


def _visits(point: str, raw: Path, base: Path, tmp_path: Path) -> int:
    """Count how often a run from `base` passes a place where it can be killed."""
    work = tmp_path / "counting"
    shutil.copytree(base, work, symlinks=True)
    failpoints.arm(f"{point}:1000000:kill")
    run(raw, work)
    visits = failpoints.visits()
    failpoints.arm("")
    shutil.rmtree(work)
    return visits


def test_the_run_after_a_crash_isolates_the_sample(raw: Path, tmp_path: Path) -> None:
    """With threads a crash takes the whole run; the next one finds the sample and goes on without it."""
    write(raw, ab="crash now")
    work = tmp_path / "work"
    threads = ExecutorConfig(kind="threads", workers=2, batch=2)
    child = CONTEXT.Process(target=_run_with, args=(raw, work, threads))
    child.start()
    child.join()
    assert child.exitcode == -9
    results = run(raw, work, executor=threads)
    assert (results["pack"].accepted, results["pack"].quarantined) == (3, 2)
    verdicts = {
        v["sample_id"]: v["code"] for v in open_store(work / "val/pack.zarr").attributes["quarantined"]
    }
    assert verdicts == {"ab.txt": "crashed", "c.txt": "bad"}
    assert not (work / "val/.staging/read").exists()


def _run_with(raw: Path, work: Path, executor: ExecutorConfig) -> None:
    run(raw, work, executor=executor)


def test_two_runs_exclude_each_other(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "work", "warmstore run"),
        pytest.raises(PipelineError, match=rf"in use by warmstore run \(process {os.getpid()}\)"),
        exclusive(tmp_path / "work", "warmstore gc"),
    ):
        pass
    with exclusive(tmp_path / "work", "warmstore gc"):
        pass


def test_what_a_killed_run_left_goes_when_nothing_is_to_do(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    failpoints.arm("manifest.write:1:eio")
    with pytest.raises(PipelineError, match="rerun continues"):
        run(raw, work, ink=2)
    failpoints.arm("")
    run(raw, work)
    assert not list(work.rglob(".building")) and not list((work / "val/.staging").iterdir())


def test_lock_of_a_dead_run_blocks_nobody(tmp_path: Path) -> None:
    child = CONTEXT.Process(target=_die_holding, args=(tmp_path / "work",))
    child.start()
    child.join()
    assert child.exitcode == -9
    with exclusive(tmp_path / "work", "warmstore run"):
        descriptor = os.open(tmp_path / "work/.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def _die_holding(work: Path) -> None:
    with exclusive(work, "a run that dies"):
        os.kill(os.getpid(), 9)
