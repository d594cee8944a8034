"""The RAM cache: a store's samples resident before the first epoch, once for all processes.

| `cache.mode` | what warming does |
| --- | --- |
| `mmap` | makes the pages of the store's files resident, which every process maps anyway |
| `ram` | fills one copy in shared memory that all processes of the machine attach to; decodes on the way |
| `off` | nothing: samples are read from the files when they are asked for |

What does not fit into `cache.budget` is read from the store's files, as without a cache.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from pydantic import Field, field_validator

from ocr.datasets.stored.chosen_rows import Rows
from pipeline.digest import digest
from pipeline.errors import ConfigError
from pipeline.memory import (
    AddressRange,
    Chunks,
    Handle,
    MappedArray,
    Samples,
    SharedChunks,
    Slot,
    available_memory,
    runs,
)
from pipeline.stage import Parameters

Item = TypeVar("Item")

log = logging.getLogger(__name__)

_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS = {**_SIZES, "%": 0.01, "": 1.0}


Mode = Literal["mmap", "ram", "off"]


class CacheParams(Parameters):
    """How samples are kept in memory."""

    mode: Mode = "mmap"
    """Map the store's files, keep one copy in shared memory, or warm nothing."""
    budget: int | float = Field(default=0.8, ge=0)
    """Bytes (a whole number, or text such as `20GB`), or a share of the free memory (0.8, `80%`)."""
    lock: bool = False
    """Whether the pages are locked in memory (`ulimit -l` has to allow it)."""
    huge_pages: bool = True
    """Whether the copy of `ram` lies in huge pages, as far as the kernel has them at hand."""
    verify: bool = True
    """Whether warming compares every sample with its checksum."""
    threads: int = Field(default=0, ge=0)
    """Threads that read and decode while warming; 0 for two a processor core, and at least eight."""
    log_statistics_every_n: int = Field(default=0, ge=0)
    """Log hits, misses and waiting time every so many samples; 0 for never."""

    @classmethod
    def of(cls, given: CacheParams | Mode | None) -> CacheParams:
        """Give parameters as they are, for the name of a mode, or the defaults. Raises ConfigError."""
        if isinstance(given, CacheParams):
            return given
        if given is not None and given not in get_args(Mode):
            modes = ", ".join(get_args(Mode))
            raise ConfigError(f"cache is CacheParams(…) or the name of a mode, {modes}, not {given!r}")
        return cls(mode=given) if given else cls()

    @field_validator("budget", mode="before")
    @classmethod
    def _parse_budget(cls, value: Any) -> Any:
        """Read `20GB` and `80%`; a share lies between 0 and 1."""
        if isinstance(value, str):
            text = value.strip().upper()
            unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
            number = float(text.removesuffix(unit))
            whole = unit in _SIZES or text.isdigit()
            value = int(number * _UNITS[unit]) if whole else number * _UNITS[unit]
        if isinstance(value, float) and not 0 <= value <= 1:
            raise ValueError(f"a share of the free memory lies between 0 and 1, not at {value}")
        return value

    def budget_bytes(self, available: int) -> int:
        """Bytes that the cache may hold where `available` are free."""
        return int(self.budget * available) if isinstance(self.budget, float) else min(self.budget, available)


@dataclass(frozen=True)
class Warmth:
    """What warming did: samples and bytes that the kernel says are in memory, of how many; `why` not all."""

    resident: int
    samples: int
    bytes: int
    seconds: float
    why: str

    def __str__(self) -> str:
        line = (
            f"RAM cache warm: {self.resident:,}/{self.samples:,} samples ({self.bytes / 1e9:.2f} GB) "
            f"resident before epoch 0 in {self.seconds:.2f} s"
        )
        rest = self.samples - self.resident
        if rest:
            line += f"; the other {rest:,} are read from the store's files ({self.why})"
        return line


class RamCache:
    """Makes chunks of a store's arrays resident, as far as the budget goes.

    Pickles small: a worker that gets one maps the memory that its parent filled.
    """

    def __init__(self, params: CacheParams) -> None:
        self.params = params
        self.budget = 0
        self._shared: SharedChunks | None = None
        self._handle: Handle | None = None

    def warm(self, arrays: Sequence[MappedArray], rows: Rows, for_device: bool = False) -> None:
        """Fill the cache with the chunks of these rows, the first ones first.

        With `for_device`, shared memory is mapped so that a device may be given it (`shared_ranges`).
        Raises StoreError naming the sample where a chunk is missing or damaged.
        """
        if self.params.mode == "off" or not arrays or not len(rows):
            return
        chunks = _chunks(arrays, rows)
        count = self._fitting(arrays, len(chunks))
        if self.params.mode == "ram" and count and self._shared is None:
            self._fill_shared(arrays, chunks, count, for_device)
        if self._shared is None:
            self._populate(arrays, chunks[:count])
        if self.params.lock:
            _lock(arrays, chunks[:count])

    def attach(self, arrays: Sequence[MappedArray], rows: Rows) -> None:
        """Map the memory that another process filled, where this came from."""
        if self._handle:
            self._shared = SharedChunks.attach(self._handle, arrays, _chunks(arrays, rows))
            if self._shared:
                self._shared.place()

    def why_not_all(self, copied: bool) -> str:
        """Say why samples are not resident after warming, where batches are views or `copied`."""
        budget = f"{self.budget / 1e9:.2f} GB"
        if self.params.mode == "off":
            return "cache.mode is off"
        if copied and self._shared is None:
            return f"copied or decoded for each batch, and in the page cache up to {budget}"
        return f"the budget is {budget}"

    def shared_ranges(self) -> list[tuple[AddressRange, int, int]]:
        """Where samples lie in shared memory: ranges of the arrays' regions."""
        return list(self._shared.ranges()) if self._shared else []

    def __getstate__(self) -> dict[str, Any]:
        handle = self._shared.memory.handle if self._shared else None
        return {"params": self.params, "budget": self.budget, "_shared": None, "_handle": handle}

    def _fitting(self, arrays: Sequence[MappedArray], chunks: int) -> int:
        """How many chunks the budget holds; says so where it was asked for more than there is."""
        available = available_memory()
        self.budget = self.params.budget_bytes(available)
        if isinstance(self.params.budget, int) and self.params.budget > available:
            log.warning(
                "cache.budget is %.2f GB where %.2f GB of memory are free: no more than these are used",
                self.params.budget / 1e9,
                available / 1e9,
            )
        return min(chunks, self.budget // sum(array.slot_bytes for array in arrays))

    def _fill_shared(
        self, arrays: Sequence[MappedArray], chunks: Chunks, count: int, for_device: bool
    ) -> None:
        def fill(slots: Sequence[Slot]) -> None:
            in_parallel(self._read_slot, slots, self.params.threads)

        try:
            self._shared = SharedChunks.obtain(
                arrays,
                chunks,
                count,
                fill,
                verify=self.params.verify,
                huge_pages=self.params.huge_pages,
            )
            self._shared.place(for_device)
            held = len(self._shared.chunks)
            if held < count:
                log.warning(
                    "another process filled the RAM cache with %d of the %d chunks that the budget holds: "
                    "its copy is shared; end that process to fill a larger one",
                    held,
                    count,
                )
        except OSError as error:
            log.warning("the RAM cache is not filled (%s): samples are read from the store's files", error)

    def _read_slot(self, slot: Slot) -> None:
        array, chunk, take = slot
        samples = take()
        array.read_once(chunk, samples)
        if self.params.verify:
            check_samples(array, chunk, samples)

    def _populate(self, arrays: Sequence[MappedArray], chunks: Chunks) -> None:
        slots = [(array, chunk) for chunk in chunks.tolist() for array in arrays]
        in_parallel(self._make_resident, slots, self.params.threads)

    def _make_resident(self, slot: tuple[MappedArray, int]) -> None:
        array, chunk = slot
        samples = array.read_in(chunk)
        if self.params.verify:
            check_samples(array, chunk, samples)


def check_samples(array: MappedArray, chunk: int, samples: Samples) -> None:
    """Compare the samples of a chunk with their checksums.

    Raises StoreError naming the first that differs.
    """
    first = chunk * array.samples_per_chunk
    wanted = array.store.checksums(array.name)[first : first + len(samples)]
    for within, checksum in enumerate(wanted):
        if digest(samples[within].reshape(-1).view(np.uint8).data) != checksum.tobytes():
            raise array.store.damaged(first + within, f"{array.name} does not match its checksum")


def in_parallel(work: Callable[[Item], None], items: Sequence[Item], threads: int = 0) -> None:
    """Do `work` for every item on threads, with a progress bar on a terminal; the first error ends it."""
    from rich.console import Console
    from rich.progress import Progress

    quiet = not sys.stderr.isatty()
    with (
        Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress,
        ThreadPoolExecutor(threads or max(8, 2 * (os.cpu_count() or 1))) as pool,
    ):
        bar = progress.add_task("warming the RAM cache", total=len(items))
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
                progress.advance(bar)
        finally:
            for future in futures:
                future.cancel()


def _chunks(arrays: Sequence[MappedArray], rows: Rows) -> Chunks:
    return np.unique(np.asarray(rows, np.int64) // arrays[0].samples_per_chunk)


def _lock(arrays: Sequence[MappedArray], chunks: Chunks) -> None:
    try:
        for array in arrays:
            # Whole runs: a lock that begins inside a huge page unmaps it.
            for first, count in runs(chunks[array.placed[chunks]]):
                array.region.lock(first * array.slot_bytes, count * array.slot_bytes)
    except OSError as error:
        log.warning("the RAM cache is not locked (%s): raise `ulimit -l`, or set cache.lock=false", error)
