"""Memory that processes share, and that leaves nothing behind: the kernel frees it with its last user.

It is a memfd: no name in /dev/shm that a killed process could leak, and no mount whose size limits
it. Other processes of the same user reach it through /proc: by a handle, or by the name it was given.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from pipeline.memory.address_range import HUGE_PAGE, AddressRange
from pipeline.memory.limits import available_memory

Handle = tuple[int, int, int]


class SharedMemory:
    """`size` bytes behind a descriptor, to be mapped."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    @classmethod
    def create(cls, name: str, size: int, taken: bool = True) -> SharedMemory:
        """Make zeroed memory that others can find by `name`.

        Its pages are taken now, or range by range (`PageTaker`) without `taken`. Raises OSError where there
        is too little, and not a signal later.
        """
        # The kernel itself would go on until it has to kill somebody.
        if size > available_memory():
            raise OSError(errno.ENOMEM, f"{size} bytes of memory: {os.strerror(errno.ENOMEM)}")
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
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


class PageTaker:
    """Takes the pages of shared memory, mapped at `region`, range by range while it is filled.

    So a disk need not wait for them: on a virtual machine the host may have to give them first, at half a
    second a gigabyte and more. They are huge pages until the kernel has none at hand. Threads may take
    ranges that overlap; nobody may write into a range that was not taken.
    """

    def __init__(self, memory: SharedMemory, region: AddressRange, huge_pages: bool) -> None:
        self._memory, self._region, self._huge_pages = memory, region, huge_pages
        blocks = -(-memory.size // HUGE_PAGE)
        self._taken, self._locks = [False] * blocks, [Lock() for _ in range(blocks)]

    def take(self, offset: int, length: int) -> None:
        """Take the pages of a range, and what else its huge pages hold.

        Raises OSError where there is too little memory, and not a signal later.
        """
        for block in range(offset // HUGE_PAGE, -(-(offset + length) // HUGE_PAGE)):
            with self._locks[block]:
                if not self._taken[block]:
                    self._take(block * HUGE_PAGE)
                    self._taken[block] = True

    def _take(self, start: int) -> None:
        length = min(HUGE_PAGE, self._memory.size - start)
        if self._huge_pages and length == HUGE_PAGE:
            # A range that holds one page and holes becomes a huge page without anything being copied.
            os.pwrite(self._memory.descriptor, b"\0", start)
            self._huge_pages = self._region.collapse(start, length)
        os.posix_fallocate(self._memory.descriptor, start, length)


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
