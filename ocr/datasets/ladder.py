"""The ladder: one validation epoch of data for each way of reading it, by configuration alone."""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ocr.cache import CacheParams
from ocr.datasets.config import CacheConfig, DatasetConfig, ImageLoadingConfig, OnlineParams
from ocr.datasets.online import OnlineDataset
from ocr.datasets.tensor import TensorDataset

_TURBO = ImageLoadingConfig(use_turbojpeg=True)
_PILLOW = ImageLoadingConfig(use_turbojpeg=False)


@dataclass(frozen=True)
class Sources:
    """What the rungs read: a split's raw data, and the stores made of it."""

    images: Path
    annotations: Path
    maps: Path
    tensors: Path
    params: OnlineParams = field(default_factory=OnlineParams)


@dataclass(frozen=True)
class Rung:
    """A way to read: a configuration of `OnlineDataset`, or of the store's cache, cold if so."""

    name: str
    online: DatasetConfig | None = None
    cache: CacheParams | None = None
    cold: bool = False


@dataclass(frozen=True)
class Measurement:
    """An epoch of a rung. `opened_s`: making the dataset, preloading and warming, before epoch 0.

    `pss`: bytes of memory, shared ones by their share, above the process's before the dataset.
    """

    rung: str
    epoch: int
    samples: int
    seconds: float
    cpu_s: float
    opened_s: float
    pss: int

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.samples / self.seconds


def rungs(sources: Sources) -> tuple[Rung, ...]:
    """The rungs, each the one before and one switch more, from plain online reading to the RAM cache."""
    plain = DatasetConfig(
        image_path=sources.images, annotation_path=sources.annotations, image_loading_config=_PILLOW
    )
    turbo = plain.model_copy(update={"image_loading_config": _TURBO})
    images = turbo.model_copy(update={"preload_images": True})
    maps = images.model_copy(update={"maps_path": sources.maps, "load_maps": True, "preload_maps": True})
    cached = maps.model_copy(update={"cache_config": CacheConfig(cache_transformed_tensors=True)})
    return (
        Rung("online, Pillow", plain),
        Rung("+ TurboJPEG", turbo),
        Rung("+ RAM images", images),
        Rung("+ preloaded maps", maps),
        Rung("+ tensor cache", cached),
        Rung("the store, cold", cache=CacheParams(mode="off"), cold=True),
        Rung("the store, warm", cache=CacheParams(mode="mmap")),
        Rung("the store, RAM cache", cache=CacheParams(mode="ram")),
    )


def climb(
    sources: Sources, batch_size: int = 16, epochs: int = 3, limit: int | None = None
) -> Iterator[Measurement]:
    """Measure rung after rung, each in a process of its own, on the samples that the store has.

    With `limit`, on the first so many of them.
    """
    for rung in rungs(sources):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            yield from pool.apply(measure, (rung, sources, batch_size, epochs, limit))


def measure(
    rung: Rung, sources: Sources, batch_size: int = 16, epochs: int = 3, limit: int | None = None
) -> list[Measurement]:
    """Read some epochs in this process."""
    if rung.cold:
        _evict(sources.tensors)
    before, began = _pss(), time.perf_counter()
    dataset = _open(rung, sources, limit)
    opened = time.perf_counter() - began
    found = []
    for epoch in range(epochs):
        began, used = time.perf_counter(), time.process_time()
        samples = sum(_touch(batch) for batch in dataset.batches(batch_size))
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        found.append(Measurement(rung.name, epoch, samples, seconds, cpu, opened, _pss() - before))
    return found


def _open(rung: Rung, sources: Sources, limit: int | None) -> TensorDataset | OnlineDataset:
    if rung.online is None:
        dataset = TensorDataset(sources.tensors, limit=limit, cache=rung.cache)
        if not rung.cold:
            dataset.warm()
        return dataset
    accepted = TensorDataset(sources.tensors, fields=(), limit=limit).sample_ids
    return OnlineDataset(rung.online, sources.params, samples=accepted)


def _touch(batch: dict[str, object]) -> int:
    """Read one byte of every page of a batch's images and maps; gives its number of samples."""
    import torch

    for value in batch.values():
        if isinstance(value, torch.Tensor) and value.dim() == 4:
            value.contiguous().view(-1).view(torch.uint8)[::4096].sum()
    names: Sequence[str] = batch["sample_id"]  # type: ignore[assignment]
    return len(names)


def _evict(store: Path) -> None:
    """Drop a store's chunks from the page cache."""
    for path in store.resolve().rglob("c.*"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _pss() -> int:
    """This process's proportional share of memory, in bytes."""
    text = Path("/proc/self/smaps_rollup").read_text()
    found = re.search(r"^Pss: *(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
