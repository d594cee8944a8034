"""What a run over many samples will take, from a probe, and what of it does not get better with workers."""

from __future__ import annotations

import math
import os
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ocr.preprocess import RawSample
from pipeline.errors import PipelineError
from pipeline.execution import Executor
from pipeline.files import free_bytes
from pipeline.maintenance import PROBED, Probe, measure, peak_bytes, remember_probe, remembered_probe
from pipeline.planning import Pipeline, SourceSample
from pipeline.runner import StageResult
from pipeline.stage import Chunked, File, Stage
from pipeline.store import samples_per_chunk
from warmstore import show
from warmstore.configuration import RunConfig

_MUCH = 0.2  # of a stage's time: what one worker has to do alone is named from there on


@dataclass(frozen=True)
class Forecast:
    """What building all stages of a split takes with so many samples and workers."""

    config: RunConfig
    split: str
    stages: Sequence[Stage]
    samples: int
    workers: int
    probe: Probe

    @property
    def size(self) -> int:
        """Bytes of all stores."""
        return sum(found.size(self.samples) for found in self.probe.stages.values())

    @property
    def seconds(self) -> float:
        """Seconds of all stages."""
        return sum(found.seconds(self.samples, self.workers) for found in self.probe.stages.values())

    def files(self, stage: Stage) -> int:
        """Count the files of a stage's chunks, and those that are kept of each sample."""
        chunks = -(-self.samples // samples_per_chunk(self.samples))
        counts = {Chunked: chunks, File: self.samples}
        return sum(counts.get(type(field), 0) for field in stage.fields())

    def limits(self) -> Iterator[str]:
        """Say what does not get better with more workers, or will not fit."""
        folder, count = _there(self.config.work_dir), f"{self.samples:,} samples"
        if self.size > (free := free_bytes(folder)):
            yield f"disk: {show.size(self.size)} are needed, and {show.size(free)} are free at {folder}"
        files, status = sum(map(self.files, self.stages)), os.statvfs(folder)
        room = f", and {status.f_favail:,} are free" if status.f_files else ""
        yield f"files: {files:,} names{room}; a new generation links those that stay"
        peak = self.probe.peak(self.samples)
        yield f"memory: one process lists and plans {count}, {show.size(peak)} in all"
        for stage in self.stages:
            found = self.probe.stages[stage.name]
            alone = found.start + self.samples * found.alone
            if alone > _MUCH * found.seconds(self.samples, self.workers):
                yield f"time: {show.duration(alone)} of {stage.name} are one process's, whatever workers do"
        if (several := samples_per_chunk(self.samples)) > 1:
            held, largest = max((several * _chunk_bytes(stage), stage.name) for stage in self.stages)
            limit = self.config.executor.memory
            more = f", and executor.memory is {show.size(limit)}: make several splits" if held > limit else ""
            yield f"chunks hold {several} samples: one added in front packs those behind it anew"
            yield f"memory of each worker: a chunk of {largest} takes {show.size(held)}{more}"
        if self.workers > (cores := len(os.sched_getaffinity(0))):
            yield f"workers: {cores} were measured, and more are taken to be as fast each"

    def as_json(self) -> dict[str, Any]:
        """Give the forecast as JSON values."""
        return {
            "samples": self.samples,
            "workers": self.workers,
            "seconds": self.seconds,
            "bytes": self.size,
            "memory": self.probe.peak(self.samples),
            "worker_memory": self.probe.worker,
            "limits": list(self.limits()),
            "stages": {
                stage.name: {
                    "seconds": self.probe.stages[stage.name].seconds(self.samples, self.workers),
                    "bytes": self.probe.stages[stage.name].size(self.samples),
                    "files": self.files(stage),
                }
                for stage in self.stages
            },
        }


def _listing_bytes(config: RunConfig, split: str) -> int:
    """Measure what listing a split takes at its peak; it takes some memory itself."""
    tracemalloc.start()
    config.pipeline(split).samples()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


class Predicted(NamedTuple):
    """What a probe told of a stage that a run has computed: seconds, bytes, peak memory of the process."""

    seconds: float
    bytes: int
    memory: int


def forecast(config: RunConfig, split: str, samples: int | None, workers: int | None) -> Forecast:
    """Compute a handful of a split's samples aside, and predict what so many of them take.

    Without a number of samples, those that are listed; without one of workers, those of the executor.
    Raises PipelineError where none can be computed.
    """
    pipeline = config.pipeline(split)
    listed = pipeline.samples()
    chosen = spread([sample for sample in listed if sample.verdict is None])
    if not chosen:
        raise PipelineError(f"split {split} lists no sample that can be computed, and so nothing to go by")
    count, width = samples or len(listed), workers or config.executor.width
    executor = config.executor.model_copy(update={"workers": width})
    kind = Executor(executor).choose(pipeline.stages[0], count).kind
    local = executor.model_copy(update={"kind": "processes" if kind == "dask" else kind, "address": None})
    stages = measure(pipeline, chosen, local, _there(config.work_dir.parent))
    worker = peak_bytes(workers=True) if local.kind == "processes" else 0
    memory = peak_bytes()
    found = Probe(len(listed), memory, _listing_bytes(config, split) / len(listed), worker, stages)
    remember_probe(config.work_dir, split, found)
    return Forecast(config, split, pipeline.stages, count, 1 if kind == "serial" else width, found)


def compared(pipeline: Pipeline, results: Mapping[str, StageResult]) -> dict[str, Predicted]:
    """Give what was predicted of the stages that a run computed for the most part, if they were probed."""
    probe = remembered_probe(pipeline)
    return {
        name: Predicted(
            probe.stages[name].seconds(result.computed, result.executor.workers),
            probe.stages[name].size(result.samples),
            probe.peak(result.samples),
        )
        for name, result in results.items()
        if probe is not None and name in probe.stages and result.executor is not None
        if result.computed > result.samples // 2
    }


def spread(samples: Sequence[SourceSample], most: int = PROBED) -> list[SourceSample]:
    """Choose some samples, evenly from the smallest file to the largest: on average they are as all are."""

    def size(sample: SourceSample) -> int:
        raw = sample.payload
        return raw.image.stat().st_size if isinstance(raw, RawSample) else 0

    ranked = sorted(samples, key=size)
    taken = min(most, len(ranked))
    return [ranked[(2 * number + 1) * len(ranked) // (2 * taken)] for number in range(taken)]


def _chunk_bytes(stage: Stage) -> int:
    """Bytes of a sample's chunks in memory."""
    chunked = [field for field in stage.fields() if isinstance(field, Chunked)]
    return sum(math.prod(field.shape) * np.dtype(field.dtype).itemsize for field in chunked)


def _there(folder: Path) -> Path:
    """Give a folder, or the nearest above it that is there."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
