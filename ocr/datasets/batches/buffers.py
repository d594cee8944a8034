"""Buffers that batches are gathered into: reused, because fresh memory costs more than the copy.

A page that the kernel has to clear and map first makes a copy three to four times slower. A buffer
comes back by itself when the last tensor over it has gone, so a batch that somebody keeps is never
overwritten; there are as many buffers as batches that are held at once.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict, deque

import numpy as np
import torch
from torch.utils.data import get_worker_info


class BufferPool:
    """Lends tensors of any shape and dtype; safe to use from several threads.

    With `pin` (where CUDA is present) the memory is page-locked: copies to the device need no staging.
    """

    def __init__(self, pin: bool = False) -> None:
        self.pin = pin and torch.cuda.is_available()
        self._free: defaultdict[int, deque[np.ndarray]] = defaultdict(deque)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Lend a tensor whose content is whatever it held last."""
        size = math.prod(shape) * dtype.itemsize
        free = self._free[size]
        try:
            buffer = free.popleft()
        except IndexError:
            buffer = self._allocate(size)
        lent = buffer[:]  # an object of its own, which the tensor below and all its views keep alive
        weakref.finalize(lent, free.append, buffer).atexit = False
        return torch.from_numpy(lent).view(dtype).view(shape)

    def _allocate(self, size: int) -> np.ndarray:
        # A DataLoader's worker sends batches through a queue, and may not use CUDA once it is forked.
        pin = self.pin and get_worker_info() is None
        # Torch aligns to cache lines, NumPy does not, and that is a quarter of a copy's time.
        return torch.zeros(size, dtype=torch.uint8, pin_memory=pin).numpy()
