"""A clock that leaves no gap: every moment of an epoch belongs to exactly one named part."""

from __future__ import annotations

import time
from collections import defaultdict

import torch


class Stopwatch:
    """Adds up seconds by part while it runs, and does nothing before `start` and after `stop`.

    `lap(name)` says what the time since the last lap, or since the start, was spent on. On a GPU it
    waits for the current stream, so that a part has its device time and not that of its launch; the
    stream that copies the next batch goes on.
    `work` holds CPU seconds spent beside it all, in a pool.
    """

    def __init__(self) -> None:
        self.parts: defaultdict[str, float] = defaultdict(float)
        self.work: defaultdict[str, float] = defaultdict(float)
        self._began = 0.0
        self._last: float | None = None
        self._device: torch.device | None = None

    def start(self, device: torch.device | None = None) -> None:
        """Forget everything and start."""
        self.parts.clear()
        self.work.clear()
        self._device = device
        self._began = self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Add the time since the last lap to a part."""
        if self._last is None:
            return
        if self._device is not None and self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        now = time.perf_counter()
        self.parts[name] += now - self._last
        self._last = now

    def stop(self, name: str) -> float:
        """Add the time since the last lap to a part, and stop; gives the seconds since the start."""
        self.lap(name)
        ended, self._last = self._last, None
        return 0.0 if ended is None else ended - self._began
