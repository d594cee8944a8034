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
from collections.abc import Iterable
from pathlib import Path

_IN_MODIFY = 0x2
_HEADER = struct.Struct("iIII")


class ChangeWatch:
    """Watches the files in some folders, from the moment that it is made; a forked child watches anew."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(folders)
        self._changed: set[Path] = set()
        self._start()

    def changed(self) -> set[Path]:
        """Files that were written to or cut since the watch began."""
        if os.getpid() != self._process:
            self._close()
            self._start()
        if self._descriptor >= 0:
            # Made for this call: threads that read side by side may not wait by one poll object.
            reports = select.poll()
            reports.register(self._descriptor, select.POLLIN)
            while reports.poll(0):
                with contextlib.suppress(BlockingIOError):  # another thread was first
                    self._read(os.read(self._descriptor, 1 << 16))
        return self._changed

    def _start(self) -> None:
        self._process = os.getpid()
        self._watched: dict[int, Path] = {}
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        if hasattr(libc, "inotify_init1"):
            self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            for folder in self._folders:
                watch = libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_MODIFY)
                self._watched[watch] = folder

    def _read(self, events: bytes) -> None:
        at = 0
        while at < len(events):
            watch, _, _, length = _HEADER.unpack_from(events, at)
            at += _HEADER.size + length
            name = os.fsdecode(events[at - length : at].rstrip(b"\0"))
            if watch in self._watched:
                self._changed.add(self._watched[watch] / name)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._close()
