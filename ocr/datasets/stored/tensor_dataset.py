"""A dataset over `tensors.zarr` that reads at the memory's speed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ocr.datasets.batches import DEFAULT_FIELDS, Batch, BufferPool, Sample, Samples, one_ahead
from ocr.datasets.positions import Many, One, positions
from ocr.datasets.statistics import Counters, Statistics
from ocr.datasets.stored.chosen_rows import Rows, as_run, choose
from ocr.datasets.stored.cuda_pinning import register_with_cuda
from ocr.datasets.stored.ram_cache import CacheParams, Mode, RamCache, Warmth
from ocr.datasets.stored.store_check import check_expected
from ocr.datasets.stored.store_reader import StoreReader
from pipeline.errors import ConfigError, Remedy, StoreError, UnknownSampleError
from pipeline.memory import residency_is_told
from pipeline.store import is_url, open_store, show, thumbnails

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Order = Literal["sequential", "shuffled"] | Sequence[int] | NDArray[np.int64]


class TensorDataset(Dataset[Sample]):
    """The samples of one generation of a store, in dataset order.

    `path` is a store's, or a list of several that hold the same samples: a field is read from the first that
    has it. So what a stage of one's own has stored is read beside `tensors.zarr`, which comes first.

    `dataset[i]` and `dataset["name"]` are samples; `dataset[a:b]`, `dataset[[2, 0]]`, a list of names and a
    mask are batches (`ocr.datasets.batches.batch` lists their keys). A DataLoader needs no `collate_fn`,
    also over a Subset or a ConcatDataset. Batches of consecutive samples are views of the store's
    pages: writing into one changes what this process sees and never the store. Others, and all of a
    shuffled order, are copies in buffers that are reused once nobody holds them.

    - `fields`: names of what a sample holds, and of whatever else the stores have; what is not asked for is
      never read.
    - `limit`, `samples`, `where`: the first so many samples; these sample_ids, in this order; those for
      which `where` is true of a mapping with `sample_id` and the store's rows (`size`, `matrix`).
    - `expect`: what is asked of the store: `recipe`, `canvas` (height, width), `mean`, `std`.
    - `cache`: what `warm()` does; `"ram"` is short for `CacheParams(mode="ram")`.

    The generation that was current at opening stays readable until the dataset is gone. Pickles as its
    path and choice, for workers started in any way.

    Raises StoreError where there is no such store, a field is missing, or it is not what is expected.
    """

    def __init__(
        self,
        path: Paths,
        fields: Sequence[str] = DEFAULT_FIELDS,
        *,
        limit: int | None = None,
        samples: Iterable[str] | None = None,
        where: Callable[[Mapping[str, Any]], bool] | None = None,
        expect: Mapping[str, Any] | None = None,
        cache: CacheParams | Mode | None = None,
        pin: bool = True,
    ) -> None:
        paths = [path] if isinstance(path, str | os.PathLike) else path
        for one in paths:
            if is_url(one):
                folder = os.fspath(one).rsplit("/", 2)[0]
                raise StoreError(f"{one} is not mapped from a bucket", Remedy("pull", (folder,)))
        self._open([Path(one) for one in paths], tuple(fields), pin)
        check_expected(self.store, expect or {})
        self._rows: Rows = choose(self.store, limit, samples, where)
        self._counters = Counters()
        self.cache = RamCache(CacheParams.of(cache))
        if not residency_is_told(self.store.path):
            log.warning(
                "%s belongs to another user, so the kernel does not tell what of it is in memory: "
                "until it is read or warmed, hits and resident samples are only claimed",
                self.store.name,
            )
        if self.cache.params.mode != "ram":  # which makes views of anything, once it is warm
            self._say_why_copied()

    def _open(self, paths: Sequence[Path], fields: tuple[str, ...], pin: bool) -> None:
        self.stores = [open_store(path) for path in paths]
        self.store = self.stores[0]
        self._pin, self._registered = pin, False
        self._reader = StoreReader(self.stores, fields, BufferPool(pin))

    def __repr__(self) -> str:
        stores = " and ".join(str(store.name) for store in self.stores)
        return (
            f"TensorDataset of {stores}: {len(self)} of {len(self.store)} samples, "
            f"cache mode {self.cache.params.mode}, fields {', '.join(self._reader.fields)}"
        )

    def _repr_html_(self) -> str:
        return f"<div>{escape(repr(self))}{thumbnails(self.store, self._rows)}</div>"  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._rows)

    def show(self, index: One, *fields: str, side: int = 480) -> Image.Image:
        """Draw one sample of the stores, whatever `fields` the dataset reads (see `Store.show`)."""
        found = positions(index, len(self), self._position)
        if not isinstance(found, int):
            raise TypeError(f"one sample is shown, by position or name, not {index!r}")
        return show(self.stores, int(self._rows[found]), fields, side)

    @property
    def sample_ids(self) -> list[str]:
        """Names of the samples, in this dataset's order."""
        return [self.store.sample_ids[row] for row in self._rows]

    @property
    def mean_std(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of pixel values in 0..1, for R, G, B, as the store says."""
        try:
            return self.store.attributes["mean"], self.store.attributes["std"]
        except KeyError as error:
            raise StoreError(f"{self.store.name} does not say the {error} of its images") from None

    @property
    def image_dtype(self) -> torch.dtype | None:
        """Type of the images' values: uint8, or floating where they are stored normalised; None without."""
        return self._reader.image_dtype

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample's arrays."""
        return self._reader.sample_bytes

    @overload
    def __getitem__(self, index: One) -> Sample: ...
    @overload
    def __getitem__(self, index: Many) -> Batch: ...
    def __getitem__(self, index: One | Many) -> Sample | Batch:
        if isinstance(index, slice):
            return self._batch(as_run(self._rows[index]))
        found = positions(index, len(self), self._position)
        if not isinstance(found, int):
            return self._batch(self._rows_at(found))
        row = int(self._rows[found])
        self._counted(range(row, row + 1))
        return self._reader.sample(row)

    def __getitems__(self, indices: Sequence[int]) -> Samples:
        """Read several samples at once, as a batch: what a DataLoader fetches."""
        return Samples(self[indices])

    def batches(
        self,
        batch_size: int,
        order: Order = "sequential",
        *,
        seed: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """Iterate over batches once.

        `order` is `"sequential"`, `"shuffled"` (by `seed`) or indices; the last batch may be smaller
        unless `drop_last`. Batches that have to be copied are made one ahead, in the background, on as
        many threads as torch computes on.
        """
        if batch_size < 1:
            raise ConfigError(f"a batch has at least one sample, not {batch_size}")
        rows = self._ordered(order, seed)
        end = len(rows) - len(rows) % batch_size if drop_last else len(rows)
        plan = (rows[start : min(start + batch_size, end)] for start in range(0, end, batch_size))
        if isinstance(rows, range) and self._reader.why_copied is None:
            batches: Iterator[Batch] = map(self._batch, plan)
        else:
            batches = one_ahead(self._reader.batch, map(self._counted, plan))
        return self._counters.timed(batches, self.cache.params.log_statistics_every_n)

    def warm(self) -> Warmth:
        """Make the chosen samples resident as `cache` says, and verify them on the way.

        Raises StoreError naming the sample where one is missing or damaged.
        """
        began = time.perf_counter()
        for_device = self._pin and torch.cuda.is_available()
        self.cache.warm(list(self._reader.arrays.values()), self._rows, for_device)
        if for_device and not self._registered:
            self._registered = register_with_cuda(self.cache.shared_ranges())
        hits, misses, resident, _ = self._reader.residency(self._rows)
        why = self.cache.why_not_all(self._reader.why_copied is not None)
        warmth = Warmth(hits, hits + misses, resident, time.perf_counter() - began, why)
        log.info("%s", warmth)
        if self.cache.params.mode == "ram":
            self._say_why_copied()
        return warmth

    def stats(self) -> Statistics:
        """What was read since the dataset was opened, by all processes that share it."""
        return self._counters.total()

    def resident(self) -> tuple[int, int]:
        """Ask the kernel: bytes of the chosen samples that are in memory, and bytes in all."""
        _, _, resident, absent = self._reader.residency(self._rows)
        return resident, resident + absent

    def _say_why_copied(self) -> None:
        why = self._reader.why_copied
        if why:
            remedy = "; cache.mode=ram would hold them as views" if "compressed" in why else ""
            if "no whole number" in why:
                height, width = next(iter(self._reader.arrays.values())).shape[-2:]
                names = " or ".join(f"canvas=[{h},{w}]" for h, w in _whole_pages_near(height, width))
                remedy += f"; with {names} they would be views"
            log.warning("%s: batches are copies, not views: %s%s", self.store.name, why, remedy)

    def _batch(self, rows: Rows) -> Batch:
        return self._reader.batch(self._counted(rows))

    def _counted(self, rows: Rows) -> Rows:
        """Count samples that are about to be read."""
        self._counters.add(*self._reader.residency(rows))
        return rows

    def _position(self, sample_id: str) -> int:
        """Find a sample by its name. Raises ConfigError where the dataset does not have it."""
        rows = self._rows if isinstance(self._rows, range) else self._rows.tolist()
        with suppress(KeyError, ValueError):
            return rows.index(self.store.rows[sample_id])
        for verdict in self.store.info.quarantined:
            if verdict["sample_id"] == sample_id:
                why = "{stage}: {code}: {reason}".format_map(verdict)
                raise ConfigError(f"{sample_id} is not in {self.store.name}: quarantined by {why}")
        raise UnknownSampleError(f"this dataset of {self.store.name}", sample_id, self.sample_ids)

    def _rows_at(self, found: NDArray[np.int64]) -> Rows:
        rows = self._rows
        return as_run(found + rows.start if isinstance(rows, range) else rows[found])

    def _ordered(self, order: Order, seed: int) -> Rows:
        if isinstance(order, range) and order.step == 1 and 0 <= order.start <= order.stop <= len(self):
            return self._rows[order.start : order.stop]
        if isinstance(order, str) and order == "sequential":
            return self._rows
        if isinstance(order, str) and order == "shuffled":
            shuffled = np.random.default_rng(seed).permutation(len(self))
            return np.asarray(self._rows, np.int64)[shuffled]
        if isinstance(order, str):
            raise ConfigError(f"order is sequential, shuffled or a list of indices, not {order}")
        return self._rows_at(np.atleast_1d(positions(order, len(self), self._position)))

    def __getstate__(self) -> dict[str, Any]:
        return {
            "paths": [store.path for store in self.stores],
            "fields": self._reader.fields,
            "pin": self._pin,
            "rows": self._rows,
            "counters": self._counters,
            "cache": self.cache,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._open(state["paths"], state["fields"], state["pin"])
        self._rows, self._counters, self.cache = state["rows"], state["counters"], state["cache"]
        self.cache.attach(list(self._reader.arrays.values()), self._rows)


def _whole_pages_near(height: int, width: int) -> list[tuple[int, int]]:
    """The canvases next below and above whose planes fill pages in any number: sides that 64 divides."""
    below, above = ([max(64, turn(side / 64) * 64) for side in (height, width)] for turn in (floor, ceil))
    return sorted({(below[0], below[1]), (above[0], above[1])})
