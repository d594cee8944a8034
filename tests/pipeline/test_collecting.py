"""Old generations are collected whole, and never from under a reader."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import failpoints
from pipeline.store import open_store
from pipeline.workspace import Generations
from tests.support.toy import CONTEXT, Paint, Read, assert_published_is_whole, edit, make_pipeline, run, write


@pytest.mark.parametrize("fault", ["kill", "eio"])
def test_gc_interrupted_leaves_whole_generations(raw: Path, tmp_path: Path, fault: str) -> None:
    work = tmp_path / "work"
    run(raw, work)
    edit(raw)
    run(raw, work)
    child = CONTEXT.Process(target=_collect, args=(f"gc.unlink:1:{fault}", raw, work))
    child.start()
    child.join()
    assert child.exitcode == (-9 if fault == "kill" else 1)
    assert_published_is_whole(work)
    pipeline = make_pipeline(raw, work)
    for stage in pipeline.stages:
        pipeline.workspace.generations(stage).collect(keep=0, dry_run=False)
        assert [path.name for path in pipeline.workspace.generations(stage).folder.iterdir()] == [
            pipeline.workspace.generations(stage).path.resolve().name
        ]


def _collect(script: str, raw: Path, work: Path) -> None:
    pipeline = make_pipeline(raw, work)
    failpoints.arm(script)
    for stage in pipeline.stages:
        pipeline.workspace.generations(stage).collect(keep=0, dry_run=False)


def test_gc_sweeps_what_a_first_run_left_that_published_nothing(raw: Path, tmp_path: Path) -> None:
    generations = make_pipeline(raw, tmp_path / "work").workspace.generations(Read())
    generations.staging.mkdir(parents=True)
    (generations.staging / "lost.task").write_bytes(b"1234")
    assert generations.collect(keep=0, dry_run=True).freed == 4
    assert generations.collect(keep=0, dry_run=False).freed == 4
    assert not generations.staging.exists()
    assert run(raw, tmp_path / "work", ["read"])


def test_a_run_sweeps_tasks_that_a_killed_client_had_sent(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = make_pipeline(raw, tmp_path / "work").workspace.generations(Read()).staging
    staging.mkdir(parents=True)
    (staging / "lost.task").write_bytes(b"")
    monkeypatch.setattr(Generations, "clear_staging", lambda self: None)
    run(raw, tmp_path / "work", ["read"])
    assert list(staging.glob("*.records")) and not list(staging.glob("*.task"))


def test_gc_keeps_what_it_is_told_to_keep(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    nothing = make_pipeline(raw, work).workspace.generations(Paint()).collect(0, dry_run=False)
    assert (nothing.removed, nothing.in_use, nothing.freed) == ([], [], 0)
    for ink in (1, 2, 3, 4):
        run(raw, work, ink=ink)
    pipeline = make_pipeline(raw, work)
    stage = pipeline.stage("paint")
    for keep, left in ((5, 4), (3, 4), (2, 3), (0, 1)):
        pipeline.workspace.generations(stage).collect(keep, dry_run=False)
        assert len(pipeline.workspace.generations(stage).listed()) == left


def test_gc_counts_only_the_bytes_whose_last_link_goes(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    old = (work / "val/read.zarr").resolve()
    stage = make_pipeline(raw, work).stage("read")
    write(raw, b="another text")
    run(raw, work)
    run(raw, work, upper=True)
    workspace = make_pipeline(raw, work).workspace
    doomed = [
        path
        for path in workspace.generations(stage).listed()
        if path != workspace.generations(stage).path.resolve()
    ]
    assert len(doomed) == 2 and (old / "copies/b.txt").stat().st_nlink == 1  # the raw one was replaced
    stays = {path.stat().st_ino for path in [*raw.iterdir(), *(work / "val/read.zarr").resolve().rglob("*")]}
    files = {p.stat().st_ino: p.stat().st_size for g in doomed for p in g.rglob("*") if p.is_file()}
    expected = sum(size for inode, size in files.items() if inode not in stays)
    assert 0 < expected < sum(files.values())
    assert workspace.generations(stage).collect(keep=0, dry_run=True).freed == expected
    assert workspace.generations(stage).collect(keep=0, dry_run=False).freed == expected
    assert workspace.generations(stage).collect(keep=0, dry_run=False).freed == 0


def test_gc_spares_a_reader_that_is_just_opening(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding a generation unused and renaming it, nobody can take hold of it."""
    work = tmp_path / "work"
    run(raw, work)
    old = (work / "val/paint.zarr").resolve()
    run(raw, work, ink=2)
    rename, refused = Path.rename, []

    def rename_while_opening(self: Path, target: Path) -> Path:
        descriptor = os.open(self, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            refused.append(self)
        os.close(descriptor)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename_while_opening)
    pipeline = make_pipeline(raw, work)
    pipeline.workspace.generations(pipeline.stage("paint")).collect(keep=0, dry_run=False)
    assert refused == [old]


_READER = """
import sys, numpy as np
from pipeline.store.reader import open_store
store = open_store(sys.argv[1])
first = [bytes(store.value("picture", i)) for i in range(len(store))]
maps = [np.memmap(store.chunk_file("picture", i), mode="c") for i in range(len(store))]
print("open", flush=True)
sys.stdin.readline()
assert [bytes(store.value("picture", i)) for i in range(len(store))] == first
assert [bytes(m) for m in maps] == first
print("same", flush=True)
sys.stdin.readline()
"""


def test_a_reader_keeps_its_generation_while_another_is_published_and_collected(
    raw: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    run(raw, work)
    path = work / "val/pack.zarr"
    with subprocess.Popen(
        [sys.executable, "-c", _READER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin and reader.stdout
        assert reader.stdout.readline() == "open\n"
        old = path.resolve()
        edit(raw)
        run(raw, work)
        pipeline = make_pipeline(raw, work)
        stage = pipeline.stage("pack")
        assert pipeline.workspace.generations(stage).collect(keep=0, dry_run=False).in_use == [old]
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "same\n"
        reader.stdin.write("\n")
        reader.stdin.flush()
    assert reader.returncode == 0
    assert pipeline.workspace.generations(stage).collect(keep=1, dry_run=False).removed == []
    assert pipeline.workspace.generations(stage).collect(keep=0, dry_run=True).removed == [old]
    assert old.is_dir()
    assert pipeline.workspace.generations(stage).collect(keep=0, dry_run=False).removed == [old]


def test_a_store_that_nobody_holds_any_more_is_in_nobodys_way(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    generations = make_pipeline(raw, work).workspace.generations(Paint())
    held = open_store(generations.path)
    old = held.path
    run(raw, work, ink=2)
    assert generations.collect(keep=0, dry_run=False).in_use == [old]
    del held
    assert generations.collect(keep=0, dry_run=False).removed == [old]
