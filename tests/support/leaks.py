"""What a process and all that it has started hold on to: descriptors, mappings, memory, processes, files."""

from __future__ import annotations

import ctypes
import gc
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
_ENDING = 20.0  # seconds in which what was killed must be gone
_OWN = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")


@dataclass(frozen=True)
class Held:
    """Bytes that are resident, and numbers of descriptors and mappings, of this process."""

    resident: int
    descriptors: int
    mappings: int

    def __str__(self) -> str:
        return f"{self.resident / 1e6:.0f} MB, {self.descriptors} descriptors, {self.mappings} mappings"


def held() -> Held:
    """Count what this process holds, after a collection."""
    gc.collect()
    mappings = Path("/proc/self/maps").read_text().count("\n")
    return Held(psutil.Process().memory_info().rss, len(list(Path("/proc/self/fd").iterdir())), mappings)


def adopt_orphans() -> None:
    """Become the parent of whatever loses its own, so that `processes` finds it."""
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)


def leaks(folder: Path, temporary: Path, shared_before: frozenset[str]) -> list[str]:
    """Name what is left of work that has ended: of `folder` open or mapped here, of processes, of files.

    `temporary` is the folder for temporary files, `shared_before` what lay in shared memory at first.
    """
    gc.collect()
    return [*_open_below(folder), *_processes(), *_shared(shared_before), *_temporary(temporary)]


def shared_memory() -> frozenset[str]:
    """List what lies in shared memory by name."""
    return frozenset(path.name for path in Path("/dev/shm").iterdir() if path.is_file())


def _open_below(folder: Path) -> list[str]:
    found = {line.split(maxsplit=5)[-1] for line in _lines("self") if str(folder) in line}
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(descriptor.readlink()).startswith(str(folder)):
                found.add(str(descriptor.readlink()))
    return [f"{path} is open or mapped" for path in sorted(found)]


def _processes() -> list[str]:
    """Wait for what was killed to end; name what does not."""
    end = time.monotonic() + _ENDING
    while alive := [process for process in psutil.Process().children(recursive=True) if _works(process)]:
        if time.monotonic() > end:
            return [f"process {process.pid} is alive: {_command(process)}" for process in alive]
        time.sleep(0.1)
    return []


def _works(process: psutil.Process) -> bool:
    """Tell a process that does something from a dead one, and from the two that Python keeps for us."""
    with suppress(psutil.NoSuchProcess):
        if process.status() == psutil.STATUS_ZOMBIE:
            with suppress(ChildProcessError):  # an orphan; a child of our own is waited for by who made it
                os.waitpid(process.pid, os.WNOHANG)
            return False
        return process.ppid() != os.getpid() or not any(name in _command(process) for name in _OWN)
    return False


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return "?"


def _shared(before: frozenset[str]) -> list[str]:
    """Name new files in shared memory that no process of this machine has mapped.

    Not semaphores: those of a killed child stay until the end of the tracker that all children share.
    """
    new = {name for name in shared_memory() - before if not name.startswith("sem.")}
    used = (
        {line.rsplit("/", 1)[-1].strip() for pid in psutil.pids() for line in _lines(pid)} if new else set()
    )
    return [f"/dev/shm/{name} is left" for name in sorted(new - used)]


def _lines(process: int | str) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{process}/maps").read_text().splitlines()
    return []


def _temporary(folder: Path) -> list[str]:
    """Name temporary files.

    Whoever is killed leaves a socket of Python's, and locks of dask's, which the next dask process removes.
    """
    left = [path for path in folder.rglob("*") if not path.is_dir()]
    return [
        f"{path} is left"
        for path in sorted(left)
        if not path.parent.name.startswith("pymp-") and path.suffix not in (".lock", ".dirlock")
    ]


def keep_temporary_files_in(folder: Path) -> None:
    """Have this process and all that it starts put temporary files there."""
    folder.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
