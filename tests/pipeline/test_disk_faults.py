"""Broken, full and read-only disks at every scripted place: one error, and the rerun finishes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import failpoints, files, workspace
from pipeline.errors import PipelineError
from pipeline.execution import ExecutorConfig, assembly
from pipeline.workspace import exclusive
from tests.support.toy import (
    CONTEXT,
    RUN_POINTS,
    STAGES,
    Read,
    assert_published_is_whole,
    clean_digests,
    computed_by,
    edit,
    run,
    tree,
    write,
)


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


def empty(path: Path) -> None:
    """Leave of a file what a power cut may leave."""
    path.write_bytes(b"")


def change(what: str, into: str) -> Callable[[Path], None]:
    """Make a record one of another version."""

    def harm(path: Path) -> None:
        path.write_text(path.read_text().replace(what, into))

    return harm


@pytest.mark.parametrize(
    ("script", "place", "harm"),
    [
        ("chunk.write:4:eio", ".staging/paint/*.picture", empty),
        ("chunk.write:4:eio", ".staging/paint/*.picture", Path.unlink),
        ("chunk.write:4:eio", ".staging/paint/*.records", empty),
        ("chunk.write:4:eio", ".staging/paint/*.records", change('"chunks"', '"pieces"')),
        ("chunk.write:4:eio", ".staging/paint/*.records", change('"picture":', '"picture":null,"other":')),
        ("manifest.write:1:eio", ".generations/paint/.building/picture/c.*", empty),
    ],
)
def test_a_finished_chunk_that_is_not_whole_is_computed_again(
    raw: Path, tmp_path: Path, script: str, place: str, harm: Callable[[Path], None]
) -> None:
    work = tmp_path / "work"
    run(raw, work, ["read"])
    failpoints.arm(script)
    with pytest.raises(PipelineError):
        run(raw, work, ["paint"])
    failpoints.arm("")
    harm(next((work / "val").glob(place)))
    rerun = run(raw, work, ["paint"])["paint"]
    assert rerun.digest == clean_digests(raw, tmp_path / "clean")["paint"]
    assert_published_is_whole(work)


def test_what_is_copied_for_want_of_links_is_synced(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of the old generation are on the disk, and copies of them are not."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))

    def sync_and_tell(path: Path) -> None:
        synced.append(path.as_posix())
        files.sync(path)

    synced: list[str] = []
    monkeypatch.setattr(os, "link", refuse)
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


def test_full_disk_is_seen_before_the_stage_starts(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(PipelineError, match="pack of split val needs about"):
        run(raw, tmp_path / "work")


def test_what_compresses_is_not_refused_on_a_guess(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly empty pictures took an eighth of what was guessed; of a store that is there it is known."""
    run(raw, tmp_path / "work", ["read"])
    free = SimpleNamespace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    assert run(raw, tmp_path / "work", ["paint"])["paint"].accepted == 3
    with pytest.raises(PipelineError, match="paint of split val needs about"):
        run(raw, tmp_path / "work", ["paint"], ink=2)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_syncfs_is_flushed_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    synced: list[Path] = []
    asked: list[int] = []
    call = SimpleNamespace(syncfs=lambda descriptor: asked.append(descriptor) or -1)
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: call)
    monkeypatch.setattr(files.ctypes, "get_errno", lambda: code)
    monkeypatch.setattr(files, "sync", synced.append)
    names = [f"f{i}" for i in range(100)]
    files.sync_all(tmp_path, names)
    assert sorted(synced) == sorted(tmp_path / name for name in names) and len(asked) == 1


def test_a_flush_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syncfs=lambda descriptor: -1))
    monkeypatch.setattr(files.ctypes, "get_errno", lambda: errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        files.sync_all(tmp_path, [""] * 100)


@pytest.mark.parametrize(
    ("function", "code", "told"),
    [
        ("flock", errno.ENOLCK, "gives no locks .*work_dir=…"),
        ("symlink", errno.EPERM, "has no symbolic links .*work_dir=…"),
    ],
)
def test_what_a_file_system_lacks_is_told_before_anything_is_computed(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int, told: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(workspace.fcntl if function == "flock" else os, function, refuse)
    computed = computed_by(Read, monkeypatch)
    with pytest.raises(PipelineError, match=told), exclusive(tmp_path / "work", "run"):
        run(raw, tmp_path / "work")
    assert computed == []


def test_inodes_are_not_taken_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert files.refusal(full, tmp_path) == "No space left on device"
    status = SimpleNamespace(f_files=1000, f_favail=0, f_bavail=1000)
    monkeypatch.setattr(os, "statvfs", lambda folder: status)
    assert "no inode is left" in files.refusal(full, tmp_path)


def test_a_late_writer_fails_no_run_that_has_published(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was given up goes on writing where everything is being removed."""
    remove = shutil.rmtree

    def write_and_remove(path: Path, **options: bool) -> None:
        with contextlib.suppress(OSError):
            (tmp_path / "work/val/.staging/read/late.copy").write_bytes(b"late")
        remove(path, **options)
        if not options and Path(path).name == "read":
            Path(path).mkdir()
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))

    monkeypatch.setattr(workspace.shutil, "rmtree", write_and_remove)
    assert run(raw, tmp_path / "work", ["read"])["read"].accepted == 3
    assert not list(tmp_path.rglob("late.copy"))


def test_finished_chunks_need_no_room(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that holds a stage once lets a run continue that was killed when it was nearly done."""
    run(raw, tmp_path / "work", ["read"])
    failpoints.arm("manifest.write:1:eio")
    with pytest.raises(PipelineError, match="rerun continues"):
        run(raw, tmp_path / "work", ["paint"])
    failpoints.arm("")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    assert run(raw, tmp_path / "work", ["paint"])["paint"].accepted == 3


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
