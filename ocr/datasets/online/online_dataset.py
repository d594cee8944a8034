"""A dataset that computes its samples from the raw files: the baseline, and what stores are held against."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ocr.datasets.batches import DEFAULT_FIELDS, Batch, Sample, check_fields, collate
from ocr.datasets.drawing import draw_sample
from ocr.datasets.online.dataset_config import DatasetConfig, OnlineParams
from ocr.datasets.online.sample_cache import Arrays, Layout, SampleCache
from ocr.datasets.online.stored_maps import StoredMaps
from ocr.datasets.positions import Many, One, positions
from ocr.datasets.statistics import Counters, Statistics
from ocr.datasets.stored import as_tensor
from ocr.preprocess import (
    IMAGE_DTYPES,
    MAP_DTYPES,
    Canonical,
    RawSample,
    canonicalize,
    decode_upright,
    final_image,
    final_maps,
)
from ocr.splits import AnnotatedSplit, LabelFrame
from pipeline.errors import ConfigError, PipelineError, Quarantine, UnknownSampleError
from pipeline.files import checksum

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)


class OnlineDataset(Dataset[Sample]):
    """Samples as a `TensorDataset` gives them, bit for bit, computed when they are asked for.

    `config` says where the raw data is and what is kept in memory, `params` how the stages compute.
    `split` lists the samples where a format and a frame do not say all (a part, an encoding, links).
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
        split: AnnotatedSplit | None = None,
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
        self._params = config.applied_to(params or OnlineParams())
        self._raw, self.quarantined = _listed(
            split or AnnotatedSplit(config.image_path, config.annotation_path, annotation_format, label_frame)
        )
        self.sample_ids = self._chosen(samples, limit)
        self._map_fields = [name for name in MAP_DTYPES if name in self.fields]
        self._counters = Counters()
        self._truths: dict[int, Canonical] = {}
        canvas, dtype = self._params.decode.canvas, IMAGE_DTYPES[self._params.tensors.dtype]
        image: Layout = [("image", dtype, (3, *canvas))] if "image" in self.fields else []
        maps: Layout = [(name, MAP_DTYPES[name], (1, *canvas)) for name in self._map_fields]
        self._images = self._cache("images", config.keeps_images, image)
        self._maps = self._cache("maps", config.keeps_maps, maps)
        self._stored_maps = None
        if config.load_maps and config.maps_path:
            self._stored_maps = StoredMaps(
                config.maps_path, self.sample_ids, self._map_fields, canvas, self._params.maps
            )
        self._preload()

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def mean_std(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of pixel values in 0..1, for R, G, B."""
        return self._params.tensors.mean, self._params.tensors.std

    @property
    def image_dtype(self) -> torch.dtype | None:
        """Type of the images' values: uint8, or floating where they are given normalised; None without."""
        dtype = self._params.tensors.dtype
        return getattr(torch, dtype) if "image" in self.fields else None

    @overload
    def __getitem__(self, index: One) -> Sample: ...
    @overload
    def __getitem__(self, index: Many) -> Batch: ...
    def __getitem__(self, index: One | Many) -> Sample | Batch:
        found = positions(index, len(self), self._position)
        return (
            self._sample(found) if isinstance(found, int) else collate([self._sample(int(i)) for i in found])
        )

    def _sample(self, index: int) -> Sample:
        truth, arrays = self._compute(index)
        matrix = self._params.decode.letterbox(truth.size).matrix
        if self.transform:  # which may write into what it gets, and that may be what a cache holds
            arrays = {name: array.copy() for name, array in arrays.items()}
        values: dict[str, Any] = {
            **{name: as_tensor(array) for name, array in arrays.items()},
            "inverse_matrix": torch.from_numpy(np.linalg.inv(matrix)),
            "matrix": torch.from_numpy(matrix),
            "size": torch.tensor(truth.size, dtype=torch.int32),
            "polygons": [points.copy() for points in truth.points],
            "ignore": truth.ignore.copy(),
            "text": list(truth.text),
            "sample_id": self.sample_ids[index],
        }
        sample = Sample({name: values[name] for name in (*self.fields, "sample_id")})
        return Sample(self.transform(sample)) if self.transform else sample

    def show(self, index: One, side: int = 480) -> Image.Image:
        """Draw one sample as it is given: what a `transform` made of it, and what `fields` has."""
        return draw_sample(self[index], self.mean_std, side)

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

    def _position(self, sample_id: str) -> int:
        """Find a sample by its name. Raises ConfigError where the dataset does not have it."""
        with suppress(ValueError):
            return self.sample_ids.index(sample_id)
        if sample_id in self.quarantined:
            raise ConfigError(f"{sample_id} cannot be used: {self.quarantined[sample_id]}")
        raise UnknownSampleError(f"the dataset of {self.config.image_path}", sample_id, self.sample_ids)

    def _compute(self, index: int) -> tuple[Canonical, Arrays]:
        """A sample's ground truth and arrays, each part from memory where it is kept."""
        truth = self._truths.get(index)
        image = _kept(self._images, index) if "image" in self.fields else {}
        maps = _kept(self._maps, index) if self._map_fields else {}
        hit = truth is not None and image is not None and maps is not None
        read = 0
        if truth is None or image is None:
            truth, image, read = self._from_file(index, image)
        if maps is None:
            maps = self._map(index, truth)
        arrays = {**image, **maps}
        in_memory = sum(array.nbytes for array in arrays.values()) if hit else 0
        self._counters.add(int(hit), int(not hit), in_memory, read)
        return truth, arrays

    def _from_file(self, index: int, image: Arrays | None) -> tuple[Canonical, Arrays, int]:
        """Read a raw file: its ground truth, its image unless that is known, and the bytes read.

        Raises PipelineError with the verdict on a file that cannot be used.
        """
        sample_id = self.sample_ids[index]
        try:
            canonical = canonicalize(self._raw[sample_id], self._params.canonicalize)
            if image is None:
                pixels = decode_upright(canonical.upright, self._params.decode).image
                image = {"image": final_image(pixels, self._params.tensors)}
                _keep(self._images, index, image)
        except Quarantine as verdict:
            raise PipelineError(
                f"{sample_id} cannot be used ({verdict}); leave it out with samples=…, or read the store, "
                "which lists it as quarantined"
            ) from verdict
        truth = replace(canonical, upright=b"")  # all that is needed of it from here on
        if self._images or self._maps:
            self._truths[index] = truth
        return truth, image, len(canonical.upright)

    def _map(self, index: int, truth: Canonical) -> Arrays:
        """Read or draw a sample's maps."""
        if self._stored_maps:
            maps = self._stored_maps.read(self.sample_ids[index])
        else:
            decode = self._params.decode
            matrix = decode.letterbox(truth.size).matrix
            drawn = final_maps(truth.points, truth.ignore, matrix, decode.canvas, self._params.maps)
            maps = {name: drawn[name] for name in self._map_fields}
        _keep(self._maps, index, maps)
        return maps

    def _preload(self) -> None:
        """Fill what is to be preloaded, on all cores; workers that share a cache need every truth."""
        images = self.config.preload_images and self._images
        maps = self.config.preload_maps and self._maps
        shared = self.workers and (self._images or self._maps)
        if not (images or maps or shared):
            return
        began = time.perf_counter()

        def fill(index: int) -> None:
            truth, _, _ = self._from_file(index, None if images else {})
            if maps:
                self._map(index, truth)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, range(len(self))))
        log.info("preloaded %s samples in %.2f s", f"{len(self):,}", time.perf_counter() - began)

    def _chosen(self, samples: Iterable[str] | None, limit: int | None) -> list[str]:
        """Give the accepted samples, or those named in `samples`, and of these the first `limit`."""
        if limit is not None and limit < 0:
            raise ConfigError(f"limit is a number of samples, not {limit}")
        wanted = list(self._raw) if samples is None else list(samples)
        missing = [name for name in wanted if name not in self._raw]
        if missing:
            verdict = self.quarantined.get(missing[0])
            why = f" ({verdict})" if verdict else ""
            raise ConfigError(
                f"{self.config.image_path} has no usable sample {missing[0]}{why}; {len(missing)} are missing"
            )
        return wanted[:limit]

    def _cache(self, what: str, wanted: bool, layout: Layout) -> SampleCache | None:
        return SampleCache(f"keeping {what} in memory", len(self), layout) if wanted and layout else None


def _listed(split: AnnotatedSplit) -> tuple[dict[str, RawSample], dict[str, Quarantine]]:
    """List a split: raw samples by sample_id in dataset order, and the verdicts on those refused."""
    found = split.samples(lambda path: bytes.fromhex(checksum(path)[1]))
    verdicts = {sample.sample_id: sample.verdict for sample in found if sample.verdict}
    if verdicts:
        log.warning("%d of %d samples of %s are quarantined", len(verdicts), len(found), split.images)
    return {sample.sample_id: sample.payload for sample in found if not sample.verdict}, verdicts


def _kept(cache: SampleCache | None, index: int) -> Arrays | None:
    return cache.get(index) if cache else None


def _keep(cache: SampleCache | None, index: int, arrays: Arrays) -> None:
    if cache:
        cache.put(index, arrays)
