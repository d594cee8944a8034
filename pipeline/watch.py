"""Notice files that are written to while they are mapped, which nobody who publishes does.

Reading a page of a mapped file that was cut short kills the process. The kernel reports each change
(inotify), and asking whether it reported one costs a microsecond. Where it cannot (another system, a
network file system changed elsewhere) sizes are checked at opening only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.forks import FORKS

_IN_MODIFY = 0x2
_HEADER = struct.Struct("iIII")


class ChangeWatch:
    """Watches the files in some folders, from the moment that it is made.

    A forked child watches anew, and asks `missed` once for the files that were cut before it began.
    """

    def __init__(self, folders: Iterable[Path], missed: Callable[[], Iterable[Path]] = tuple) -> None:
        self._folders = tuple(folders)
        self._missed = missed
        self._changed: set[Path] = set()
        self._start()

    def changed(self) -> set[Path]:
        """Files that were written to or cut since the watch began."""
        if self._forks != FORKS.count:
            self._close()
            self._start()
            self._changed.update(self._missed())
        while self._reports and self._reports.poll(0, 1):
            with contextlib.suppress(BlockingIOError):  # another thread was first
                self._read(os.read(self._descriptor, 1 << 16))
        return self._changed

    def _start(self) -> None:
        self._forks = FORKS.count
        self._watched: dict[int, Path] = {}
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        # Threads may wait by one of these side by side, which they may not by `select.poll()`.
        self._reports: select.epoll | None = None
        if hasattr(libc, "inotify_init1"):
            self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            for folder in self._folders:
                watch = libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_MODIFY)
                self._watched[watch] = folder
            self._reports = select.epoll()
            self._reports.register(self._descriptor, select.EPOLLIN)

    def _read(self, events: bytes) -> None:
        at = 0
        while at < len(events):
            watch, _, _, length = _HEADER.unpack_from(events, at)
            at += _HEADER.size + length
            name = os.fsdecode(events[at - length : at].rstrip(b"\0"))
            if watch in self._watched:
                self._changed.add(self._watched[watch] / name)

    def _close(self) -> None:
        if self._reports:
            self._reports.close()
            self._reports = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._close()
