"""Compile a numeric loop with numba."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)


def compiled(function: F) -> F:
    """Compile at the first call and run free of the GIL, so that threads work side by side.

    The machine code is kept beside the module or in the user's cache folder, and loads in milliseconds
    afterwards.
    """
    loop = njit(nogil=True)(function)
    with suppress(RuntimeError):  # neither folder can be written to: only the time to compile is lost
        loop._cache = _Kept(function)  # as `cache=True` does with numba's own
    _told.loops.add(loop)
    return cast(F, loop)


class _Kept(FunctionCache):  # type: ignore[misc]  # numba is untyped
    """Machine code in files. Where one is damaged, or none can be written, it is compiled once more."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # unpickling, after a loss of power, raises any
            log.warning("machine code in %s is damaged (%s)", self.cache_path, error)
            self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            log.warning("machine code cannot be kept in %s (%s)", self.cache_path, error)


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
