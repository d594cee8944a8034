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
    return _compile(function)


def vectorised(function: F) -> F:
    """Compile as `compiled` does, so that a loop takes several values at a time.

    For that, sums may be added in another order, a product and a sum may be rounded once, and dividing
    by zero gives infinity or NaN, as in NumPy.
    """
    return _compile(function, error_model="numpy", fastmath={"reassoc", "contract"})


def _compile(function: F, **options: Any) -> F:
    try:
        return cast(F, njit(cache=True, nogil=True, **options)(function))
    except RuntimeError:  # neither folder can be written to: only the time to compile is lost
        return cast(F, njit(nogil=True, **options)(function))
