"""Read a file from the disk straight to its place in memory, past the page cache."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.pages import PAGE
from pipeline.residency import file_residency


def read_direct(path: Path, out: NDArray[np.uint8]) -> bool:
    """Fill `out` with a whole file, most of which is not in the page cache.

    False, with `out` in any state, where it is to be read the usual way instead: the page cache has it,
    it has another size, or memory, file or file system are not made for direct reading.
    """
    if out.nbytes % PAGE or out.ctypes.data % PAGE or not hasattr(os, "O_DIRECT"):
        return False
    try:
        found = file_residency(path)
        if found.bytes != out.nbytes or 2 * found.resident > found.bytes:
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.preadv(descriptor, [out.data], 0) == out.nbytes
    except OSError:
        return False
    finally:
        os.close(descriptor)
