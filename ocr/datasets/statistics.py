"""What reading cost, counted across all processes that read."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields

import torch
from torch.utils.data import get_worker_info

from ocr.datasets.batches import Batch

log = logging.getLogger(__name__)

_WORKERS = 63


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


class Counters:
    """Statistics in a tensor that processes share, a row a worker: each adds to its own, without a lock.

    It travels to workers as torch's tensors do, however they are started. The first row is for whoever
    is no worker of a DataLoader.
    """

    def __init__(self, counts: torch.Tensor | None = None) -> None:
        if counts is None:
            counts = torch.zeros(1 + _WORKERS, len(fields(Statistics)), dtype=torch.float64)
            counts.share_memory_()  # type: ignore[no-untyped-call]
        self._counts = counts
        self._rows = counts.numpy()

    def add(self, hits: int = 0, misses: int = 0, ram: int = 0, disk: int = 0, wait_s: float = 0.0) -> None:
        """Count samples read by this process, and the time that it waited."""
        worker = get_worker_info()
        self._rows[1 + worker.id % _WORKERS if worker else 0] += (hits, misses, ram, disk, wait_s)

    def timed(self, batches: Iterator[Batch], log_every: int = 0) -> Iterator[Batch]:
        """Pass batches on, counting the time that waiting for them takes.

        With `log_every`, the statistics since the first are logged every so many samples.
        """
        before, seen = self.total() if log_every else Statistics(), 0
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.add(wait_s=time.perf_counter() - began)
            if batch is None:
                return
            count = len(batch["sample_id"])  # whoever gets the batch may take it apart
            yield batch
            seen += count
            if log_every and seen % log_every < count:
                log.info("cache statistics after %s samples: %s", f"{seen:,}", self.total() - before)

    def total(self) -> Statistics:
        """Sum over all processes."""
        hits, misses, ram, disk, wait_s = self._rows.sum(axis=0).tolist()
        return Statistics(int(hits), int(misses), int(ram), int(disk), wait_s)

    def __reduce__(self) -> tuple[type[Counters], tuple[torch.Tensor]]:
        return Counters, (self._counts,)
