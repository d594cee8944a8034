"""The soak's own eyes: whatever is left behind is named."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support import leaks
from tests.support.shell import Shell


@contextmanager
def _open(folder: Path) -> Iterator[str]:
    with (folder / "file").open("rb"):
        yield f"{folder}/file is open or mapped"


@contextmanager
def _mapped(folder: Path) -> Iterator[str]:
    with (folder / "file").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with mapped:
        yield f"{folder}/file is open or mapped"


@contextmanager
def _process(_: Path) -> Iterator[str]:
    child = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,))
    child.start()
    yield "is alive"
    child.kill()
    child.join()


@contextmanager
def _shared(folder: Path) -> Iterator[str]:
    path = Path("/dev/shm") / folder.name
    path.touch()
    yield f"{path} is left"
    path.unlink()


@contextmanager
def _temporary(folder: Path) -> Iterator[str]:
    (folder / "tmp/some").mkdir()
    (folder / "tmp/some/file").touch()
    yield f"{folder}/tmp/some/file is left"


@pytest.mark.parametrize("leak", [_open, _mapped, _process, _shared, _temporary])
def test_what_is_left_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: Callable[[Path], AbstractContextManager[str]]
) -> None:
    monkeypatch.setattr(leaks, "_ENDING", 0.3)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file").write_bytes(b"content")
    before = leaks.shared_memory()
    with leak(tmp_path) as told:
        assert any(told in line for line in leaks.leaks(tmp_path, tmp_path / "tmp", before))


def test_a_command_leaves_the_collector_of_its_process_as_it_was(tmp_path: Path) -> None:
    """A store in a cycle that is frozen is never closed, and keeps its generation from being collected."""
    before = gc.isenabled(), gc.get_freeze_count()
    assert Shell(tmp_path)("config").returncode == 0
    assert (gc.isenabled(), gc.get_freeze_count()) == before
