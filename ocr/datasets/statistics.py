"""What reading cost, counted across all processes that read."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ocr.datasets.collate import Batch
from pipeline.forks import FORKS
from pipeline.pages import PAGE, Region
from pipeline.shared import Handle, SharedMemory

log = logging.getLogger(__name__)

_PROCESSES = 512


@dataclass(frozen=True)
class Statistics:
    """Counts since the dataset was opened, or between two moments (`later - earlier`).

    A hit is a sample whose bytes were all in memory when it was asked for; `bytes_ram` and
    `bytes_disk` split what was read accordingly, to the page. `wait_s` is the time that consumers
    spent waiting for a batch, in seconds.
    """

    hits: int = 0
    misses: int = 0
    bytes_ram: int = 0
    bytes_disk: int = 0
    wait_s: float = 0.0

    @property
    def samples(self) -> int:
        """Samples read."""
        return self.hits + self.misses

    @property
    def hit_rate(self) -> float:
        """Share of samples that were in memory; 1.0 before the first."""
        return self.hits / self.samples if self.samples else 1.0

    def __sub__(self, earlier: Statistics) -> Statistics:
        mine, theirs = asdict(self), asdict(earlier)
        return Statistics(**{name: mine[name] - theirs[name] for name in mine})

    def __str__(self) -> str:
        return (
            f"{self.hits:,} hits, {self.misses:,} misses ({self.hit_rate:.1%} in memory), "
            f"{self.bytes_ram / 1e9:.2f} GB from memory, {self.bytes_disk / 1e9:.2f} GB from disk, "
            f"{self.wait_s:.2f} s waiting for data"
        )


_NAMES = tuple(field.name for field in fields(Statistics))


class Counters:
    """Statistics in shared memory: workers add to them, whoever started them, and the total is read anywhere.

    Each process adds to a row of its own, so no addition is lost and none needs a lock. Travels by
    pickle as a handle; where nobody holds the memory any more, counting starts anew.
    """

    def __init__(self, handle: Handle | None = None) -> None:
        memory = SharedMemory.attach(handle) if handle else None
        size = len(_NAMES) * 8 * _PROCESSES // PAGE * PAGE
        self._memory = memory or SharedMemory.create("warmstore-statistics", size)
        region = Region(size)
        region.place(0, self._memory.descriptor, size, shared=True)
        self._rows: NDArray[np.float64] = (
            region.bytes().view(np.float64)[: size // 8].reshape(-1, len(_NAMES))
        )
        self._row = self._row_at(0)
        self._forks = -1
        _LIVE[self._memory.handle[2]] = self

    @classmethod
    def attach(cls, handle: Handle) -> Counters:
        """Give the counters of a handle: those that this process has, or a way to another's.

        A second descriptor would take the lock of this process's row with it when it is closed.
        """
        return _LIVE.get(handle[2]) or cls(handle)

    def add(self, hits: int, misses: int, bytes_ram: int, bytes_disk: int) -> None:
        """Count samples read by this process."""
        row = self._mine()
        row[0] += hits
        row[2] += bytes_ram
        if misses:
            row[1] += misses
            row[3] += bytes_disk

    def timed(self, batches: Iterator[Batch], log_every: int = 0) -> Iterator[Batch]:
        """Pass batches on, counting the time that waiting for them takes.

        With `log_every`, the statistics since the first are logged every so many samples.
        """
        before, seen = self.total() if log_every else Statistics(), 0
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self._mine()[4] += time.perf_counter() - began
            if batch is None:
                return
            count = len(batch["sample_id"])  # whoever gets the batch may take it apart
            yield batch
            seen += count
            if log_every and seen % log_every < count:
                log.info("cache statistics after %s samples: %s", f"{seen:,}", self.total() - before)

    def total(self) -> Statistics:
        """Sum over all processes."""
        sums = self._rows.sum(axis=0).tolist()
        hits, misses, bytes_ram, bytes_disk = map(int, sums[:4])
        return Statistics(hits, misses, bytes_ram, bytes_disk, sums[4])

    def __reduce__(self) -> tuple[Callable[[Handle], Counters], tuple[Handle]]:
        return Counters.attach, (self._memory.handle,)

    def _mine(self) -> memoryview[float]:
        """This process's row, claimed by a lock on one byte that ends with the process."""
        if self._forks != FORKS.count:
            for index in range(len(self._rows) - 1):
                try:
                    fcntl.lockf(self._memory.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, index)
                except OSError:
                    continue
                break
            else:
                index = len(self._rows) - 1
            self._row = self._row_at(index)
            self._forks = FORKS.count
        return self._row

    def _row_at(self, index: int) -> memoryview[float]:
        """A row whose numbers are added to in a tenth of the time that an array takes."""
        octets: memoryview[int] = self._rows[index].view(np.uint8).data
        return octets.cast("d")


_LIVE: WeakValueDictionary[int, Counters] = WeakValueDictionary()
"""Counters of this process by the inode of their memory."""
