"""A dataset that computes its samples from the raw files: the baseline, and what stores are held against."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ocr.datasets.collate import DEFAULT_FIELDS, Batch, Sample, check_fields, collate
from ocr.datasets.computing import Arrays, OnlineParams, SampleComputer, Truth
from ocr.datasets.config import DatasetConfig
from ocr.datasets.raw import listed_samples
from ocr.datasets.reading import as_tensor
from ocr.datasets.sample_cache import Layout, SampleCache
from ocr.datasets.statistics import Counters, Statistics
from ocr.datasets.stored_maps import StoredMaps
from ocr.frames import LabelFrame
from ocr.tensors import IMAGE_DTYPES, MAP_DTYPES
from pipeline.errors import ConfigError

log = logging.getLogger(__name__)


def configured(params: OnlineParams, config: DatasetConfig) -> OnlineParams:
    """Give the stages' parameters with what the dataset's switches set."""
    decode = params.decode.model_copy(update=config.image_loading_config.model_dump())
    normalise = config.prenormalize_images and params.tensors.dtype == "uint8"
    tensors = params.tensors.model_copy(update={"dtype": "float32"} if normalise else {})
    return replace(params, decode=decode, tensors=tensors)


class OnlineDataset(Dataset[Sample]):
    """Samples as a `TensorDataset` gives them, bit for bit, computed when they are asked for.

    `config` says where the raw data is and what is kept in memory, `params` how the stages compute.
    `transform` changes a sample (augmentation). `batches` computes in `workers` processes. `fields`,
    `samples` and `limit` choose as in `TensorDataset`. Samples refused for their labels are left out
    and listed in `quarantined`; one whose image is refused raises PipelineError when it is read.

    Raises ConfigError for switches that make no sense together, or that the memory is too small for.
    """

    def __init__(
        self,
        config: DatasetConfig,
        params: OnlineParams | None = None,
        *,
        fields: Sequence[str] = DEFAULT_FIELDS,
        samples: Iterable[str] | None = None,
        limit: int | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        annotation_format: str = "auto",
        label_frame: LabelFrame = "auto",
        workers: int = 0,
    ) -> None:
        cache = config.cache_config
        if transform is not None and cache.cache_transformed_tensors:
            raise ConfigError(
                "cache_transformed_tensors would repeat the first epoch's augmentation in every other one; "
                "switch one of them off"
            )
        check_fields(fields)
        self.config, self.fields, self.transform, self.workers = config, tuple(fields), transform, workers
        self._computer = SampleComputer(configured(params or OnlineParams(), config))
        wanted = None if samples is None else list(samples)
        self._raw, self.quarantined = listed_samples(
            config.image_path, config.annotation_path, annotation_format, label_frame, wanted
        )
        if limit is not None and limit < 0:
            raise ConfigError(f"limit is a number of samples, not {limit}")
        self.sample_ids = (list(self._raw) if wanted is None else wanted)[:limit]
        self._map_fields = [name for name in MAP_DTYPES if name in self.fields]
        self._counters = Counters()
        self._truths: dict[int, Truth] = {}
        self._stored = self._maps_store(config.maps_path if config.load_maps else None)
        image, maps = self._layouts()
        self._images = self._cache("images", image, config.preload_images or cache.cache_images)
        self._maps = self._cache("maps", maps, config.preload_maps or cache.cache_maps)
        self._whole = self._cache("samples", {**image, **maps}, cache.cache_transformed_tensors)
        self._preload()

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def mean_std(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of pixel values in 0..1, for R, G, B."""
        tensors = self._computer.params.tensors
        return tensors.mean, tensors.std

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.config.image_path}")
        index %= len(self)
        arrays, truth = self._compute(index)
        if self.transform:  # which may write into what it gets, and that may be what a cache holds
            arrays = {name: array.copy() for name, array in arrays.items()}
        values: dict[str, Any] = {
            **{name: as_tensor(array) for name, array in arrays.items()},
            "inverse_matrix": torch.from_numpy(np.linalg.inv(truth.matrix)),
            "matrix": torch.from_numpy(truth.matrix.copy()),
            "size": torch.tensor(truth.size, dtype=torch.int32),
            "polygons": [points.copy() for points in truth.points],
            "ignore": truth.ignore.copy(),
            "text": list(truth.text),
            "sample_id": self.sample_ids[index],
        }
        sample = {name: values[name] for name in (*self.fields, "sample_id")}
        return self.transform(sample) if self.transform else sample

    def batches(self, batch_size: int, order: Iterable[int] | None = None) -> Iterator[Batch]:
        """Iterate over batches once, in dataset order or that of the indices in `order`."""
        if batch_size < 1:
            raise ConfigError(f"a batch has at least one sample, not {batch_size}")
        indices = [int(index) for index in (range(len(self)) if order is None else order)]
        plan = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        pin = torch.cuda.is_available()
        loader = DataLoader(
            self, batch_sampler=plan, num_workers=self.workers, collate_fn=collate, pin_memory=pin
        )
        return self._counters.timed(iter(loader), self.config.cache_config.log_statistics_every_n)

    def warm(self) -> None:
        """Nothing to do: what is preloaded was read when the dataset was made."""

    def stats(self) -> Statistics:
        """What was read, by all worker processes: a hit needed no file, no decoding and no drawing."""
        return self._counters.total()

    def _compute(self, index: int) -> tuple[Arrays, Truth]:
        """A sample's arrays and ground truth, each part from memory where a cache holds it."""
        kept = _get(self._whole, index)
        image = kept or _get(self._images, index) if "image" in self.fields else {}
        maps = kept or _get(self._maps, index) if self._map_fields else {}
        truth = self._truths.get(index)
        hit = truth is not None and image is not None and maps is not None
        read = 0
        if truth is None or image is None:
            truth, read, image = self._from_file(index, image)
        if maps is None:
            maps = self._map(index, truth)
        arrays = {**image, **maps}
        if self._whole and kept is None:
            self._whole.put(index, arrays)
        self._counters.add(int(hit), int(not hit), sum(a.nbytes for a in arrays.values()) if hit else 0, read)
        return arrays, truth

    def _from_file(self, index: int, image: Arrays | None) -> tuple[Truth, int, Arrays]:
        """Read a raw image: its truth, the bytes read, and its pixels unless they are known."""
        sample_id = self.sample_ids[index]
        truth, upright = self._computer.truth(sample_id, self._raw[sample_id])
        if self._images or self._maps or self._whole:
            self._truths[index] = truth
        if image is None:
            image = self._computer.image(sample_id, upright)
            if self._images:
                self._images.put(index, image)
        return truth, len(upright), image

    def _map(self, index: int, truth: Truth) -> Arrays:
        drawn = self._stored.read(index) if self._stored else self._computer.maps(truth)
        maps = {name: drawn[name] for name in self._map_fields}
        if self._maps:
            self._maps.put(index, maps)
        return maps

    def _maps_store(self, path: Path | None) -> StoredMaps | None:
        params = self._computer.params
        if path is None:
            return None
        return StoredMaps(path, self.sample_ids, self._map_fields, params.decode.canvas, params.maps)

    def _layouts(self) -> tuple[Layout, Layout]:
        params = self._computer.params
        canvas, dtype = params.decode.canvas, IMAGE_DTYPES[params.tensors.dtype]
        image: Layout = {"image": ((3, *canvas), dtype)} if "image" in self.fields else {}
        return image, {name: ((1, *canvas), MAP_DTYPES[name]) for name in self._map_fields}

    def _cache(self, what: str, layout: Layout, wanted: bool) -> SampleCache | None:
        return SampleCache(f"keeping {what} in memory", len(self), layout) if wanted and layout else None

    def _preload(self) -> None:
        """Fill what is to be preloaded, on all cores; workers that share a cache need every truth."""
        caching = self._images or self._maps or self._whole
        if not (self.config.preload_images or self.config.preload_maps or (caching and self.workers)):
            return
        began = time.perf_counter()

        def fill(index: int) -> None:
            truth, _, _ = self._from_file(index, None if self.config.preload_images else {})
            if self.config.preload_maps:
                self._map(index, truth)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, range(len(self))))
        log.info("preloaded %s samples in %.2f s", f"{len(self):,}", time.perf_counter() - began)


def _get(cache: SampleCache | None, index: int) -> Arrays | None:
    return cache.get(index) if cache else None
