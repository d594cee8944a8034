"""Kills and broken disks at every scripted place: old or new, never half, and the rerun finishes."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import failpoints, files, workspace
from pipeline.errors import PipelineError
from pipeline.execution import ExecutorConfig, assembly
from pipeline.runner import run_stages
from pipeline.store import open_store
from pipeline.workspace import exclusive
from tests.support.toy import (
    CONTEXT,
    RUN_POINTS,
    STAGES,
    Read,
    Silent,
    assert_published_is_whole,
    clean_digests,
    computed_by,
    edit,
    exit_code,
    make_pipeline,
    outlook,
    run,
    tree,
    write,
)

KILLS = 60


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    failpoints.arm("")


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


@pytest.mark.parametrize("fault", ["enospc", "eio", "short"])
@pytest.mark.parametrize("point", RUN_POINTS)
def test_broken_disk_is_one_error_and_the_rerun_finishes(
    raw: Path, tmp_path: Path, point: str, fault: str
) -> None:
    work = tmp_path / "work"
    run(raw, work)
    edit(raw)
    wanted = clean_digests(raw, tmp_path / "clean")
    failpoints.arm(f"{point}:2:{fault}")
    if fault == "short":  # a write that stops early is continued
        run(raw, work)
    else:
        with pytest.raises(PipelineError, match="rerun continues"):
            run(raw, work)
    assert failpoints.visits() >= 2
    failpoints.arm("")
    assert_published_is_whole(work)
    assert clean_digests(raw, work) == wanted


@pytest.mark.parametrize(
    ("script", "left"),
    [
        ("record.write:3:eio", 6),  # the memory of file hashes is the first record, that of a task the next
        ("assemble.link:4:eio", 7),  # each raw file is linked when it is computed, and once more later
        ("assemble.link:14:eio", 0),
        ("manifest.write:1:eio", 0),
        ("fsync:1:eio", 0),
        ("publish.rename:1:eio", 0),
        ("publish.rename:2:eio", 0),
    ],
)
def test_finished_chunks_are_kept(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, left: int
) -> None:
    """Wherever a run ended, in computing, assembling or publishing, nothing is computed twice."""
    write(raw, c="good luck", **{f"n{i}": f"sample {i}" for i in range(6)})
    failpoints.arm(script)
    with pytest.raises(PipelineError):
        run(raw, tmp_path / "work", ["read"], ExecutorConfig(kind="serial", batch=4))
    failpoints.arm("")
    computed = computed_by(Read, monkeypatch)
    found = run(raw, tmp_path / "work", ["read"])
    assert len(computed) == left
    assert found["read"].digest == run(raw, tmp_path / "clean", ["read"])["read"].digest
    assert_published_is_whole(tmp_path / "work")


@pytest.mark.parametrize(
    ("script", "place"),
    [
        ("chunk.write:4:eio", ".staging/paint/*.picture"),
        ("chunk.write:4:eio", ".staging/paint/*.records"),
        ("manifest.write:1:eio", ".generations/paint/.building/picture/c.*"),
    ],
)
def test_a_finished_chunk_that_a_power_cut_emptied_is_computed_again(
    raw: Path, tmp_path: Path, script: str, place: str
) -> None:
    work = tmp_path / "work"
    run(raw, work, ["read"])
    failpoints.arm(script)
    with pytest.raises(PipelineError):
        run(raw, work, ["paint"])
    failpoints.arm("")
    next((work / "val").glob(place)).write_bytes(b"")
    rerun = run(raw, work, ["paint"])["paint"]
    assert rerun.digest == clean_digests(raw, tmp_path / "clean")["paint"]
    assert_published_is_whole(work)


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


def test_what_is_copied_for_want_of_links_is_synced(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of the old generation are on the disk, and copies of them are not."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(self))

    def sync_and_tell(path: Path) -> None:
        synced.append(path.as_posix())
        files.sync(path)

    synced: list[str] = []
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setattr(
        assembly, "sync_all", lambda folder, names: [sync_and_tell(folder / name) for name in names]
    )
    run(raw, tmp_path / "work")
    edit(raw)
    synced.clear()
    run(raw, tmp_path / "work")
    for name in STAGES:
        building = tmp_path / f"work/val/.generations/{name}/.building"
        assert {f"{building}/{file}" for file in tree(tmp_path / f"work/val/{name}.zarr")} <= set(synced)
    assert_published_is_whole(tmp_path / "work")


def test_a_first_run_syncs_the_folders_that_it_makes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(workspace, "sync", synced.append)
    run(raw, tmp_path / "work", ["read"])
    made = {tmp_path / "work" / name for name in ("", "val", "val/.generations", "val/.generations/read")}
    assert made <= set(synced)


def test_nothing_accepted_publishes_nothing(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    before = open_store(work / "val/read.zarr").path
    for path in raw.glob("*.txt"):
        write(raw, **{path.stem: "bad"})
    with pytest.raises(PipelineError, match="accepted none of the 4 samples"):
        run(raw, work)
    assert open_store(work / "val/read.zarr").path == before


def test_gc_keeps_what_it_is_told_to_keep(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
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


def test_staging_deleted_under_a_run_is_one_error(raw: Path, tmp_path: Path) -> None:
    pipeline = make_pipeline(raw, tmp_path / "work")

    class Saboteur(Silent):
        def begin(self, split: str, stage: str, samples: int):  # type: ignore[no-untyped-def]
            shutil.rmtree(pipeline.workspace.folder)
            return super().begin(split, stage, samples)

    with pytest.raises(PipelineError, match="rerun continues"):
        list(run_stages(pipeline, ["read"], ExecutorConfig(kind="serial"), Saboteur()))
    run(raw, tmp_path / "work")


def test_full_disk_is_seen_before_the_stage_starts(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(PipelineError, match="paint of split val needs about"):
        run(raw, tmp_path / "work")


def test_finished_chunks_need_no_room(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that holds a stage once lets a run continue that was killed when it was nearly done."""
    run(raw, tmp_path / "work", ["read"])
    failpoints.arm("manifest.write:1:eio")
    with pytest.raises(PipelineError, match="rerun continues"):
        run(raw, tmp_path / "work", ["paint"])
    failpoints.arm("")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    assert run(raw, tmp_path / "work", ["paint"])["paint"].accepted == 3


def test_what_a_killed_run_left_goes_when_nothing_is_to_do(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    failpoints.arm("manifest.write:1:eio")
    with pytest.raises(PipelineError, match="rerun continues"):
        run(raw, work, ink=2)
    failpoints.arm("")
    run(raw, work)
    assert not list(work.rglob(".building")) and not list((work / "val/.staging").iterdir())


def test_read_only_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir(mode=0o500)
    tmp_path.chmod(0o755)
    child = CONTEXT.Process(target=_refused_as_nobody, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 0


def _refused_as_nobody(folder: Path) -> None:
    os.chdir(folder)  # its parents may be closed to nobody
    if os.geteuid() == 0:  # who writes anywhere
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    with pytest.raises(PipelineError, match="cannot be written"), exclusive(Path("work"), "run"):
        pass


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
