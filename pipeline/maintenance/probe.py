"""What a run over many samples will take, told by a few that are computed in a folder of their own.

Of each stage a sample's bytes and two parts of its time are measured: what workers share, and what one after
another has to do (planning, assembling, writing), so that with W workers N samples take

    seconds = start + N · (alone + shared / W)

A prediction is kept in the work folder, and a run puts it beside what it took.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.execution import Executor, ExecutorConfig
from pipeline.files import write_aside
from pipeline.planning import FileHashes, Pipeline, SourceSample, full_recipe, recipe_digest
from pipeline.runner import StageResult, run_stages
from pipeline.stage import Stage
from pipeline.store import hold_current
from pipeline.workspace import Collected, Workspace, collect_folders

PROBED = 48
_FEW = 12  # enough that their files are flushed as those of many are: by one call
_FILE = ".probe"
_FOLDER = ".warmstore-probe-"


@dataclass(frozen=True)
class Finding:
    """What a stage takes: seconds of a run, of a sample alone and of one shared by workers; bytes a sample.

    `recipe` is the digest of what was measured; `refused` the share of samples that the stages refuse.
    """

    recipe: str
    start: float
    alone: float
    shared: float
    bytes: float
    refused: float

    def seconds(self, samples: int, workers: int) -> float:
        """Predict the seconds of a stage."""
        return self.start + samples * (self.alone + self.shared / workers)

    def size(self, samples: int) -> int:
        """Predict the bytes of a store."""
        return round(samples * (1 - self.refused) * self.bytes)


@dataclass(frozen=True)
class Probe:
    """What was found of a split: of each stage, and bytes of memory of the process that plans.

    `memory` is its peak with `listed` samples, `each` what one more takes, `worker` the peak of a process
    that computes, 0 where threads do.
    """

    listed: int
    memory: int
    each: float
    worker: int
    stages: Mapping[str, Finding]

    def peak(self, samples: int) -> int:
        """Predict the peak of the process that plans."""
        return round(self.memory + self.each * max(0, samples - self.listed))


@dataclass(frozen=True)
class Chosen:
    """A source of samples that were listed already."""

    listed: Sequence[SourceSample]

    def samples(self, hashes: FileHashes) -> Sequence[SourceSample]:
        """Give the samples."""
        return self.listed


def measure(
    pipeline: Pipeline, samples: Sequence[SourceSample], config: ExecutorConfig, beside: Path
) -> dict[str, Finding]:
    """Compute a few samples, in a folder below `beside` that goes again; gives a finding a stage.

    `config` says what computes; `auto` is to be decided before, since it goes by the number of samples.
    Raises PipelineError where no sample can be computed.
    """
    few = max(1, min(_FEW, len(samples) // 2))
    width = min(config.width, len(os.sched_getaffinity(0)))
    narrow = config.model_copy(update={"batch": max(1, len(samples) // (4 * width)), "workers": width})
    with _own_folder(beside) as folder, Executor(narrow) as executor:

        def measured(name: str, chosen: Sequence[SourceSample]) -> dict[str, StageResult]:
            workspace = Workspace(folder / name, pipeline.workspace.split)
            hashes = FileHashes(workspace.folder / ".hashes", pipeline.hashes.root)
            own = Pipeline(workspace, pipeline.stages, Chosen(chosen), hashes)
            return dict(run_stages(own, [stage.name for stage in own.stages], executor))

        cold = measured("first", samples[:few])  # its workers load libraries, as a run's do
        less, more = measured("few", samples[:few]), measured("many", samples)
    return {
        stage.name: _finding(pipeline, stage, cold[stage.name], less[stage.name], more[stage.name], width)
        for stage in pipeline.stages
    }


@contextmanager
def _own_folder(beside: Path) -> Iterator[Path]:
    """Make a folder that is held while it is used, and goes then."""
    with suppress(OSError):  # without locks nothing tells whether a probe was killed
        collect_probes(beside, dry_run=False)
    with TemporaryDirectory(dir=beside, prefix=_FOLDER) as folder:
        held, path = hold_current(Path(folder))
        try:
            yield path
        finally:
            os.close(held)


def collect_probes(beside: Path, dry_run: bool) -> Collected:
    """Remove the folders of probes that were killed. A dry run gives what would be removed."""
    return collect_folders(beside.glob(f"{_FOLDER}*"), dry_run)


def _finding(
    pipeline: Pipeline, stage: Stage, cold: StageResult, less: StageResult, more: StageResult, width: int
) -> Finding:
    """Tell apart what a run takes and what a sample does, by two runs over few and one over many."""
    seconds = (more.seconds - less.seconds) / max(1, more.samples - less.samples)
    seconds = min(max(seconds, 0.0), more.seconds / more.samples)
    shared = min(more.compute_seconds / more.samples, seconds * width)
    return Finding(
        recipe=recipe_digest(full_recipe(stage, pipeline.stages)),
        start=max(0.0, cold.seconds - cold.samples * seconds),
        alone=seconds - shared / width,
        shared=shared,
        bytes=more.bytes / max(1, more.accepted),
        refused=more.quarantined / more.samples,
    )


def peak_bytes(workers: bool = False) -> int:
    """Give the most memory that this process has had, or the largest of those that it has waited for."""
    whose = resource.RUSAGE_CHILDREN if workers else resource.RUSAGE_SELF
    return resource.getrusage(whose).ru_maxrss << 10


def remember_probe(work_dir: Path, split: str, found: Probe) -> None:
    """Keep what was found of a split, for the runs and plans to come."""
    known = _read(work_dir) | {split: asdict(found)}
    with suppress(OSError):  # a work folder that cannot be written only forgets
        work_dir.mkdir(parents=True, exist_ok=True)
        write_aside(work_dir / _FILE, json.dumps(known).encode(), "record")


def remembered_probe(pipeline: Pipeline) -> Probe | None:
    """Give what was found of a split, and of its stages as far as their recipes are still the same."""
    known = _read(pipeline.workspace.work_dir).get(pipeline.workspace.split)
    try:
        recipes = {
            stage.name: recipe_digest(full_recipe(stage, pipeline.stages)) for stage in pipeline.stages
        }
        stages = {name: Finding(**found) for name, found in known["stages"].items()} if known else {}
        same = {name: found for name, found in stages.items() if found.recipe == recipes.get(name)}
        return Probe(**{**known, "stages": same}) if known else None
    except (TypeError, KeyError, AttributeError):  # another version wrote it
        return None


def _read(work_dir: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((work_dir / _FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
