"""Compile a numeric loop with numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile at the first call and run free of the GIL, so that threads work side by side.

    The machine code is kept beside the module or in the user's cache folder, and loads in milliseconds
    afterwards.
    """
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:  # neither folder can be written to: only the time to compile is lost
        return cast(F, njit(nogil=True)(function))
