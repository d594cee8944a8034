"""What a sample may do to the process that computes it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable


class Unpicklable(Exception):  # noqa: N818
    """Survives no pickling: it is built from two arguments and keeps one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def _recurse(depth: int) -> int:
    return 1 + _recurse(depth + 1)


def _raise_unpicklable() -> None:
    raise Unpicklable("one", "two")


POISONS: dict[str, Callable[[], object]] = {
    "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(3),
    "hang": lambda: time.sleep(3600),
    "eat": lambda: bytearray(1 << 40),
    "slowly": lambda: time.sleep(0.1),
    "leave": lambda: sys.exit(3),
    "recurse": lambda: _recurse(0),
    "unpicklable": _raise_unpicklable,
}
"""By the word that a text begins with; `slowly` does no harm."""

CODES = {
    "crash": "crashed",
    "segfault": "crashed",
    "exit": "crashed",
    "hang": "timed_out",
    "eat": "out_of_memory",
    "leave": "stage_error",
    "recurse": "stage_error",
    "unpicklable": "stage_error",
}
"""The verdicts of every executor that isolates; the others live through the last four."""
