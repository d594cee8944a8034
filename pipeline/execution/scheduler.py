"""Computing what a plan says is stale: tasks on an executor, finished chunks in the staging folder."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.errors import PipelineError, Quarantine, Remedy, WorkerLost
from pipeline.execution.executors import ExecutorConfig, open_executor
from pipeline.execution.records import Record, is_whole, read_records
from pipeline.execution.task import Group, Item, Task, run_task, write_verdict
from pipeline.files import free_bytes, sweep
from pipeline.planning import REJECTED, StagePlan, packed_samples, recipe_digest, recipe_of
from pipeline.stage import Chunked, Field
from pipeline.store import samples_per_chunk
from pipeline.workspace import Generations

log = logging.getLogger(__name__)


class Reporter(Protocol):
    """Who is told how far a stage has come."""

    def begin(self, split: str, stage: str, samples: int) -> Callable[[int], None]:
        """Start a bar over `samples`; the function that it gives is called with samples done since."""
        ...


class Computed(NamedTuple):
    """Records by group, samples that an earlier run had finished, seconds inside the stage's function."""

    records: dict[str, Record]
    earlier: int
    seconds: float


def compute_plan(
    generations: Generations, plan: StagePlan, config: ExecutorConfig, reporter: Reporter
) -> Computed:
    """Compute what is stale into the staging folder, continuing what a killed run began."""
    workspace, staging = generations.workspace, generations.staging
    staging.mkdir(parents=True, exist_ok=True)
    sweep(staging)
    sweep(workspace.folder)
    groups, found = _groups(plan), _finished(plan, staging)
    records = {
        group.key: found[group.key]
        for group in groups
        if group.key in found and is_whole(staging, group.key, found[group.key])
    }
    earlier = sum(len(record["samples"]) for record in records.values())
    todo = [group for group in groups if group.key not in records]
    _check_space(generations, plan, todo)
    advance = reporter.begin(workspace.split, plan.stage.name, len(plan.stale))
    advance(earlier)
    seconds = 0.0
    if todo:
        with _isolated_after_a_crash(staging, config) as chosen:
            stores = tuple(store.path for store in plan.candidates.stores)
            recipe = recipe_digest(recipe_of(plan.stage))
            task_of = partial(Task, plan.stage, recipe, staging.absolute(), stores)
            seconds, computed = _compute(task_of, chosen, todo, advance)
        records |= computed
    return Computed(records, earlier, seconds)


def finished_samples(generations: Generations, plan: StagePlan) -> frozenset[str]:
    """Give the stale samples that an interrupted run has finished, as its records say.

    Only a run holds their files against the records: a power cut may have emptied some.
    """
    found = _finished(plan, generations.staging)
    if not found:
        return frozenset()
    return frozenset(i.sample_id for group in _groups(plan) if group.key in found for i in group.items)


def _finished(plan: StagePlan, staging: Path) -> dict[str, Record]:
    """Read what an interrupted run has finished; where verdicts are to be retried, not those."""
    found = read_records(staging)
    if plan.retry:
        found = {
            key: record
            for key, record in found.items()
            if not any(sample["verdict"] for sample in record["samples"])
        }
    return found


def predicted_bytes(fields: Iterable[Field]) -> int:
    """Bytes a sample that fields are likely to take; compressed ones are taken at a third."""
    chunked = [field for field in fields if isinstance(field, Chunked)]
    raw = {f.name: math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in chunked}
    return sum(raw[f.name] if f.codec == "none" else raw[f.name] // 3 for f in chunked)


def _check_space(generations: Generations, plan: StagePlan, todo: Sequence[Group]) -> None:
    """Refuse what will not fit; chunks that a killed run has finished lie there already."""
    packed = packed_samples(plan.reuse[plan.reuse != REJECTED], plan.old)
    needed = predicted_bytes(plan.stage.fields()) * (sum(len(group.items) for group in todo) + packed)
    folder = generations.workspace.folder
    with suppress(OSError):
        free = free_bytes(folder)
        if needed > free:
            raise PipelineError(
                f"{generations} needs about {needed / 1e6:.1f} MB and {folder} has {free / 1e6:.1f} MB free",
                Remedy("gc", otherwise=", make room, or set work_dir=… to another disk"),
            )


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


@contextmanager
def _isolated_after_a_crash(staging: Path, config: ExecutorConfig) -> Iterator[ExecutorConfig]:
    """Give the executor to use: processes, if the last run with threads died while it computed.

    Threads are fastest, and a sample that crashes its decoder takes all of them with it. The run
    after that finds the mark that a dead process could not remove, and isolates the sample.
    """
    mark = staging / ".computing"
    if config.kind == "threads" and mark.exists():
        log.warning("the last run died while computing; this one isolates its workers (executor=processes)")
        config = config.model_copy(update={"kind": "processes"})
    mark.touch()
    try:
        yield config
    finally:
        mark.unlink(missing_ok=True)


def _compute(
    task_of: Callable[[tuple[Group, ...]], Task],
    config: ExecutorConfig,
    groups: Sequence[Group],
    advance: Callable[[int], None],
) -> tuple[float, dict[str, Record]]:
    """Run groups as tasks; a task whose worker is lost is halved until the sample at fault is found.

    A sample that loses its worker alone is tried once more, since the first time may have been the
    machine's fault; then it gets its verdict.
    """
    seconds, records, suspects = 0.0, dict[str, Record](), set()
    tasks = [task_of(batch) for batch in _batches(groups, config.batch)]
    with open_executor(config) as executor:
        while tasks:
            futures = {executor.submit(run_task, task): task for task in tasks}
            tasks = []
            for future in executor.as_completed(futures):
                task = futures[future]
                try:
                    spent, done = future.result()
                except WorkerLost as lost:
                    first = task.groups[0]
                    if task.size > 1:
                        tasks += [task_of(part) for part in _halves(task.groups)]
                        continue
                    if first.key not in suspects:
                        suspects.add(first.key)
                        tasks.append(task)
                        continue
                    verdict = Quarantine(lost.code, lost.reason)
                    spent, done = 0.0, write_verdict(task.staging, first.items[0], verdict)
                seconds += spent
                records |= done
                advance(task.size)
    return seconds, records


def _batches(groups: Sequence[Group], size: int) -> Iterator[tuple[Group, ...]]:
    batch: list[Group] = []
    for group in groups:
        batch.append(group)
        if sum(len(member.items) for member in batch) >= size:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def _halves(groups: tuple[Group, ...]) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Split groups in two, inside the group where there is only one."""
    if len(groups) == 1:
        items = groups[0].items
        middle = len(items) // 2
        return (Group(items[:middle]),), (Group(items[middle:]),)
    middle = len(groups) // 2
    return groups[:middle], groups[middle:]
