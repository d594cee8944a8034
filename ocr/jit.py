"""Compile a numeric loop with numba."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)


def compiled(function: F) -> F:
    """Compile at the first call and run free of the GIL, so that threads work side by side.

    The machine code is kept beside the module or in the user's cache folder, and loads in milliseconds
    afterwards.
    """
    try:
        loop = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither folder can be written to: only the time to compile is lost
        loop = njit(nogil=True)(function)
    _told.loops.add(loop)
    return cast(F, loop)


class _Told(event.Listener):  # type: ignore[misc]  # numba is untyped
    """Says at the first of our loops that is compiled, and not loaded, why that takes so long."""

    def __init__(self) -> None:
        self.loops: set[Any] = set()
        self.said = False

    def on_start(self, event: Any) -> None:
        if not self.said and event.data["dispatcher"] in self.loops:
            self.said = True
            log.warning("compiling loops for this processor: some 15 s, once for each installation")

    def on_end(self, event: Any) -> None:
        pass


_told = _Told()
event.register("numba:compile", _told)
