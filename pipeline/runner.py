"""Running stages over a split: plan, compute what is stale, assemble, publish, one stage after another."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.assemble import assemble
from pipeline.errors import PipelineError
from pipeline.executors import ExecutorConfig, WorkerLost, open_executor
from pipeline.files import free_bytes, sweep
from pipeline.plan import Candidates, StagePlan, from_source, from_stores, plan_stage
from pipeline.source import FileHashes, Source
from pipeline.stage import Chunked, Stage
from pipeline.store import Store
from pipeline.task import Group, Item, Task, read_record, run_task, write_verdict
from pipeline.workspace import Workspace
from pipeline.zarr_format import samples_per_chunk


@dataclass(frozen=True)
class StageResult:
    """What a run did for one stage of one split; `samples` counts all that are listed."""

    samples: int
    accepted: int
    quarantined: int
    computed: int
    reused: int
    seconds: float
    compute_seconds: float
    bytes: int
    generation: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        """Give the result as JSON values."""
        return asdict(self)


class Reporter(Protocol):
    """Who is told how far a stage has come."""

    def begin(self, split: str, stage: str, samples: int) -> Callable[[int], None]:
        """Start a bar over `samples`; the function that it gives is called with samples done since."""
        ...


@dataclass
class Pipeline:
    """The stages over one split: everything that planning and running need.

    `stages` are in order, each after those that it reads.
    """

    workspace: Workspace
    stages: Sequence[Stage]
    source: Source
    hashes: FileHashes
    retry: bool = False

    def plan(self, stage: Stage) -> StagePlan:
        """Plan one stage on what is published now.

        Raises PipelineError where a store that it reads is missing.
        """
        candidates = self.candidates(stage)
        return plan_stage(stage, self.stages, candidates, self.workspace.open(stage), self.retry)

    def candidates(self, stage: Stage) -> Candidates:
        """List what reaches a stage. Raises PipelineError where a store that it reads is missing."""
        if stage.reads:
            return from_stores(self.upstream(stage), stage)
        samples = self.source.samples(self.hashes)
        with suppress(OSError):  # a work folder that cannot be written only costs hashing again
            self.hashes.save()
        return from_source(samples, stage)

    def stage(self, name: str) -> Stage:
        """Find a stage by name."""
        return next(stage for stage in self.stages if stage.name == name)

    def upstream(self, stage: Stage) -> dict[str, Store]:
        """Open the stores that a stage reads. Raises PipelineError where one is missing."""
        stores = {}
        for name in stage.reads:
            store = self.workspace.open(self.stage(name))
            if store is None:
                raise PipelineError(
                    f"{stage.name} of split {self.workspace.split} reads {name}, which has not been built; "
                    f"run `warmstore run {name} {stage.name}`"
                )
            stores[name] = store
        return stores


def run_stages(
    pipeline: Pipeline, names: Sequence[str], executor: ExecutorConfig, reporter: Reporter
) -> Iterator[tuple[str, StageResult]]:
    """Run the named stages in order; yields each stage's result when it is published.

    Raises PipelineError where a stage would stand on a stale store that is not among `names`.
    """
    for stage in pipeline.stages:
        if stage.name in names:
            _refuse_stale(pipeline, stage, names)
            yield stage.name, run_stage(pipeline, stage, executor, reporter)


def run_stage(pipeline: Pipeline, stage: Stage, config: ExecutorConfig, reporter: Reporter) -> StageResult:
    """Bring one stage's store up to date, computing only what is stale."""
    began = time.perf_counter()
    workspace, plan = pipeline.workspace, pipeline.plan(stage)
    if not plan.listed:
        raise PipelineError(f"split {workspace.split} lists no sample; check data.splits.{workspace.split}")
    compute_seconds = 0.0
    try:
        if not plan.up_to_date:
            compute_seconds = _build(pipeline, plan, config, reporter)
    except OSError as error:
        raise PipelineError(
            f"{stage.name} of split {workspace.split} stopped: {error.strerror or error} "
            f"({error.filename or workspace.folder}); what was published stands, and a rerun continues "
            "from the finished chunks once there is room and the folder can be written"
        ) from error
    store = workspace.open(stage)
    assert store is not None
    counts, computed = store.attributes["counts"], len(plan.stale)
    if not counts["accepted"]:
        first = store.attributes["quarantined"][0]
        raise PipelineError(
            f"{stage.name} accepted none of the {plan.listed} samples of split {workspace.split}; "
            f"the first, {first['sample_id']}: {first['code']}: {first['reason']}"
        )
    return StageResult(
        samples=plan.listed,
        accepted=counts["accepted"],
        quarantined=counts["quarantined"],
        computed=computed,
        reused=len(plan.candidates.sample_ids) - computed,
        seconds=time.perf_counter() - began,
        compute_seconds=compute_seconds,
        bytes=store.manifest.size,
        generation=store.generation,
        digest=store.digest,
    )


def predicted_bytes(stage: Stage) -> int:
    """Bytes a sample that a stage is likely to write; compressed fields are taken at a third."""
    fields = [field for field in stage.fields() if isinstance(field, Chunked)]
    raw = {f.name: math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in fields}
    return sum(raw[f.name] if f.codec == "none" else raw[f.name] // 3 for f in fields)


def _refuse_stale(pipeline: Pipeline, stage: Stage, names: Sequence[str]) -> None:
    """Refuse to build on a store that is stale itself, unless this run has brought it up to date."""
    for name in stage.reads:
        if name in names:
            continue
        upstream = pipeline.stage(name)
        _refuse_stale(pipeline, upstream, names)
        plan = pipeline.plan(upstream)
        if not plan.up_to_date:
            split = pipeline.workspace.split
            raise PipelineError(
                f"{stage.name} of split {split} would stand on a stale {name} "
                f"({', '.join(plan.why)}); run `warmstore run {name} {stage.name}`"
            )


def _build(pipeline: Pipeline, plan: StagePlan, config: ExecutorConfig, reporter: Reporter) -> float:
    """Compute, assemble and publish; gives the seconds spent inside the stage's function."""
    workspace, stage = pipeline.workspace, plan.stage
    records, seconds = compute_plan(pipeline, plan, config, reporter)
    building = workspace.begin(stage)
    manifest = assemble(plan, records, workspace.staging(stage), building)
    if plan.old is not None and manifest.digest == plan.old.digest:
        shutil.rmtree(building)
    else:
        workspace.publish(stage, building, manifest.digest)
    shutil.rmtree(workspace.staging(stage))
    return seconds


def compute_plan(
    pipeline: Pipeline, plan: StagePlan, config: ExecutorConfig, reporter: Reporter
) -> tuple[dict[str, Any], float]:
    """Compute what is stale into the staging folder, continuing what a killed run began.

    Gives the records by group, and the seconds spent inside the stage's function.
    """
    workspace, stage = pipeline.workspace, plan.stage
    staging = workspace.staging(stage)
    staging.mkdir(parents=True, exist_ok=True)
    sweep(staging)
    _check_space(workspace, plan)
    advance = reporter.begin(workspace.split, stage.name, len(plan.stale))
    groups = _groups(plan)
    finished = {group.key: record for group in groups if (record := read_record(staging, group.key))}
    advance(sum(len(record["samples"]) for record in finished.values()))
    todo = [group for group in groups if group.key not in finished]
    if not todo:
        return finished, 0.0
    seconds, keys = _compute(pipeline, plan, config, todo, advance)
    computed = {key: record for key in keys if (record := read_record(staging, key))}
    return {**finished, **computed}, seconds


def _groups(plan: StagePlan) -> list[Group]:
    """Group stale samples by the chunk that they will share, were none of them quarantined."""
    candidates = plan.candidates
    count = samples_per_chunk(len(candidates.sample_ids))
    groups: dict[int, list[Item]] = {}
    for index in map(int, plan.stale):
        item = Item(
            candidates.sample_ids[index],
            plan.fingerprints[index].tobytes(),
            candidates.payloads[index],
            tuple(candidates.rows[index].tolist()),
        )
        groups.setdefault(index // count, []).append(item)
    return [Group(tuple(items)) for items in groups.values()]


def _compute(
    pipeline: Pipeline,
    plan: StagePlan,
    config: ExecutorConfig,
    groups: Sequence[Group],
    advance: Callable[[int], None],
) -> tuple[float, set[str]]:
    """Run groups as tasks; a task whose worker is lost is halved until the sample at fault is found."""
    workspace, stage, seconds = pipeline.workspace, plan.stage, 0.0
    staging = workspace.staging(stage)
    upstream = tuple(store.path for store in pipeline.upstream(stage).values())
    keys = {group.key for group in groups}
    tasks = [Task(stage, staging.absolute(), upstream, batch) for batch in _batches(groups, config.batch)]
    with open_executor(config) as executor:
        while tasks:
            futures = {executor.submit(run_task, task): task for task in tasks}
            tasks = []
            for future in executor.as_completed(futures):
                task = futures[future]
                try:
                    seconds += future.result()
                except WorkerLost as lost:
                    if task.size > 1:
                        halves = _halves(task)
                        keys |= {group.key for half in halves for group in half.groups}
                        tasks += halves
                        continue
                    write_verdict(staging, task.groups[0].items[0], lost.code, lost.reason)
                advance(task.size)
    return seconds, keys


def _batches(groups: Sequence[Group], size: int) -> Iterator[tuple[Group, ...]]:
    batch: list[Group] = []
    for group in groups:
        batch.append(group)
        if sum(len(member.items) for member in batch) >= size:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def _halves(task: Task) -> list[Task]:
    """Split a task in two, inside its group when it has only one."""
    groups = task.groups
    if len(groups) == 1:
        items = groups[0].items
        middle = len(items) // 2
        groups = (Group(items[:middle]), Group(items[middle:]))
    middle = len(groups) // 2
    return [
        Task(task.stage, task.staging, task.upstream, part) for part in (groups[:middle], groups[middle:])
    ]


def _check_space(workspace: Workspace, plan: StagePlan) -> None:
    needed = predicted_bytes(plan.stage) * len(plan.stale)
    with suppress(OSError):
        free = free_bytes(workspace.folder)
        if needed > free:
            raise PipelineError(
                f"{plan.stage.name} of split {workspace.split} needs about {needed / 1e9:.2f} GB and "
                f"{workspace.folder} has {free / 1e9:.2f} GB free; make room, run `warmstore gc`, "
                "or set work_dir=… to another disk"
            )
