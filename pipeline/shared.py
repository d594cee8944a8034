"""Memory that processes share, and that leaves nothing behind: the kernel frees it with its last user.

It is a memfd: no name in /dev/shm that a killed process could leak, and no mount whose size limits
it. Other processes of the same user reach it through /proc: by a handle, or by the name it was given.
Without memfd (not Linux) an unlinked temporary file takes its place, found by forked children only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.memory import available_memory

Handle = tuple[int, int, int]


class SharedMemory:
    """`size` bytes behind a descriptor, to be mapped."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    @classmethod
    def create(cls, name: str, size: int, taken: bool = True) -> SharedMemory:
        """Make zeroed memory that others can find by `name`.

        Its pages are taken now, or range by range (`pipeline.taking`) without `taken`. Raises OSError where
        there is too little, and not a signal later.
        """
        # The kernel itself would go on until it has to kill somebody.
        if size > available_memory():
            raise OSError(errno.ENOMEM, f"{size} bytes of memory: {os.strerror(errno.ENOMEM)}")
        try:
            descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        except (AttributeError, OSError):
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        try:
            os.ftruncate(descriptor, size)
            if taken and size:
                os.posix_fallocate(descriptor, 0, size)
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    @classmethod
    def attach(cls, handle: Handle) -> SharedMemory | None:
        """Reach the memory that another process gave the handle of; None where it is gone."""
        process, descriptor, inode = handle
        return _open(Path(f"/proc/{process}/fd/{descriptor}"), inode)

    @classmethod
    def find(cls, name: str) -> Iterator[SharedMemory]:
        """Reach memory of that name which processes of this user hold."""
        for path in _holders(name):
            found = _open(path)
            if found:
                yield found

    @property
    def handle(self) -> Handle:
        """What another process needs to attach while this one lives."""
        return os.getpid(), self.descriptor, os.fstat(self.descriptor).st_ino

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self.descriptor)


def _open(path: Path, inode: int | None = None) -> SharedMemory | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or inode not in (None, status.st_ino):
        os.close(descriptor)
        return None
    return SharedMemory(descriptor)


def _holders(name: str) -> Iterator[Path]:
    """Descriptors of this user's processes that lead to memory of that name."""
    wanted = f"/memfd:{name} (deleted)"
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end, or belong to somebody else, at any step.
        with contextlib.suppress(OSError):
            if process.stat().st_uid != os.geteuid():
                continue
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == wanted:
                        yield descriptor
