"""Ranges of virtual memory: files mapped side by side, made resident, asked about, kept.

The standard library's `mmap` cannot place one file behind another, and keeps a descriptor per map;
so this is a thin layer over the system calls themselves.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE = mmap.PAGESIZE
HUGE_PAGE = 2 << 20

_PROT_NONE, _PROT_READ_WRITE = 0, mmap.PROT_READ | mmap.PROT_WRITE
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_MADV_HUGEPAGE, _MADV_POPULATE_READ, _MADV_COLLAPSE = 14, 22, 25
_MLOCK_ONFAULT = 1
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap, _munmap = _libc.mmap, _libc.munmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_madvise, _mincore = _libc.madvise, _libc.mincore
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


def whole_pages(size: int) -> int:
    """Round a number of bytes up to whole pages."""
    return -(-size // PAGE) * PAGE


class AddressRange:
    """A reserved range of addresses of `size` bytes; files are mapped into it at chosen offsets.

    Maps are private and copy-on-write: writing into them neither fails nor reaches the file. The
    range is given back when the last array over it has gone. Address space is all that it costs.
    """

    def __init__(self, size: int) -> None:
        self.size = max(whole_pages(size), PAGE)
        # Two megabytes to spare: a range aligned to huge pages can be mapped by them.
        reserved = self.size + HUGE_PAGE
        start = _mmap(
            None, reserved, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE, -1, 0
        )
        if start == _MAP_FAILED:
            raise _system_error(f"{reserved} bytes of addresses")
        self.address: int = -(-start // HUGE_PAGE) * HUGE_PAGE
        finalizer = weakref.finalize(self, _munmap, start, reserved)
        finalizer.atexit = False  # arrays may outlive the interpreter's other objects

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "shape": (self.size,), "typestr": "|u1", "data": (self.address, False)}

    def place(self, offset: int, descriptor: int, length: int, start: int = 0, shared: bool = False) -> None:
        """Map `length` bytes of a file from its byte `start` at `offset` (both whole pages).

        With `shared`, writes do reach the file; for memory that the writer owns.
        Raises OSError where the system refuses.
        """
        flags = (mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE | _MAP_NORESERVE) | _MAP_FIXED
        at = self.address + offset
        if _mmap(at, length, _PROT_READ_WRITE, flags, descriptor, start) == _MAP_FAILED:
            raise _system_error(f"mapping {length} bytes")

    def bytes(self) -> NDArray[np.uint8]:
        """Give the whole range as an array, which keeps it."""
        return np.asarray(self)

    def populate(self, offset: int, length: int) -> None:
        """Read a range and enter it in the page table.

        Raises OSError where a file has no such bytes any more: a plain read would kill the process.
        """
        if not self._advise(offset, length, _MADV_POPULATE_READ):  # before Linux 5.14
            self.bytes()[offset : offset + length : PAGE].max(initial=0)

    def prefer_large_pages(self, offset: int, length: int) -> None:
        """Ask that faults read a file in large pieces of adjoining memory (since Linux 5.18).

        Whoever walks through its pages finds them a third faster than scattered ones.
        """
        self._advise(offset, length, _MADV_HUGEPAGE)

    def collapse(self, offset: int, length: int) -> bool:
        """Back a range of shared memory by huge pages; False where the kernel does not, or not all of it."""
        try:
            return self._advise(offset, length, _MADV_COLLAPSE)
        except OSError:
            return False

    def resident(self, offset: int, length: int) -> int:
        """Ask the kernel how many of a range's bytes are in memory, to the page."""
        pages = np.empty(whole_pages(length) // PAGE, np.uint8)
        if _mincore(self.address + offset, length, pages.ctypes.data):
            raise _system_error("asking for residency")
        return min(int(np.bitwise_and(pages, 1).sum()) * PAGE, length)

    def lock(self, offset: int, length: int) -> None:
        """Read a range and keep it in memory. Raises OSError where the limit (`ulimit -l`) is too low."""
        # Without ONFAULT the kernel makes a private copy of every page, ready to be written to.
        at, size = ctypes.c_void_p(self.address + offset), ctypes.c_size_t(length)
        if _libc.mlock2(at, size, _MLOCK_ONFAULT):
            raise _system_error(f"locking {length} bytes")
        self.populate(offset, length)

    def _advise(self, offset: int, length: int, advice: int) -> bool:
        """Give advice to the kernel; False where it does not know it."""
        if not _madvise(self.address + offset, length, advice):
            return True
        error = _system_error("reading a mapped file")
        if error.errno == 22:  # EINVAL: an older kernel
            return False
        raise error


def _system_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
