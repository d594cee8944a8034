"""What stands between the brackets of a dataset: positions, names, lists, masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

One = int | str
Many = slice | Sequence[int] | list[str] | NDArray[Any] | torch.Tensor


def positions(index: One | Many, count: int, named: Callable[[str], int]) -> int | NDArray[np.int64]:
    """Give the position that is meant, or an array of those: each in 0…count - 1, in the order asked for.

    `named` gives a sample's position. A mask says of every sample whether it is meant. Raises IndexError
    for a position out of range and a mask of another length, TypeError for what is none of these, and
    whatever `named` raises.
    """
    if isinstance(index, str):
        return named(index)
    if isinstance(index, slice):
        return np.arange(count)[index]
    asked = np.asarray(index)
    names = [name for name in asked.ravel().tolist() if isinstance(name, str)]
    if asked.ndim > 1 or (len(names) < asked.size and asked.dtype.kind not in "biu"):
        raise TypeError(f"samples are chosen by position, name, slice, list or mask, not by {index!r}")
    if names:
        return np.array([named(name) for name in names], np.int64)
    if asked.dtype.kind == "b" and asked.ndim:
        if len(asked) != count:
            raise IndexError(f"a mask of {len(asked)} for {count} samples")
        return np.flatnonzero(asked)
    found = asked.astype(np.int64)
    outside = found[(found < -count) | (found >= count)]
    if outside.size:
        raise IndexError(f"sample {outside.flat[0]} of {count}")
    found = np.where(found < 0, found + count, found)
    return found if asked.ndim else int(found)
