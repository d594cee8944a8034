"""Computing what a plan says is stale: tasks on an executor, finished chunks in the staging folder."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.errors import PipelineError, Remedy, WorkerLost
from pipeline.execution.executor_config import DIED, Choice
from pipeline.execution.executors import Executor
from pipeline.execution.handshake import offer
from pipeline.execution.interrupts import finishing_what_is_under_way
from pipeline.execution.process_pool import Ended
from pipeline.execution.records import Record, is_whole, read_records, record_files
from pipeline.execution.task import ON_ITS_WAY, Group, Item, Task, run_task, write_verdict
from pipeline.files import free_bytes, sweep
from pipeline.planning import REJECTED, StagePlan, packed_samples
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
    """By group the file of its record, samples that an earlier run had finished, seconds inside the stage.

    Records stay in their files: of many samples they are more than the memory of one process should hold.
    `choice` is what ran, if anything did.
    """

    records: dict[str, str]
    earlier: int
    seconds: float
    choice: Choice | None


def compute_plan(
    generations: Generations,
    plan: StagePlan,
    executor: Executor,
    reporter: Reporter,
    raw_file: tuple[Path, str] | None = None,
) -> Computed:
    """Compute what is stale into the staging folder, continuing what a killed run began.

    Workers on other machines must find `raw_file` there with the checksum that it has here.
    """
    workspace, staging = generations.workspace, generations.staging
    staging.mkdir(parents=True, exist_ok=True)
    sweep(staging)
    sweep(staging, ON_ITS_WAY)
    sweep(workspace.folder)
    groups = {group.key: group for group in _groups(plan)}
    records = {
        key: file
        for file, key, record in _finished(plan, staging)
        if key in groups and is_whole(staging, key, record)
    }
    earlier = sum(len(groups[key].items) for key in records)
    todo = [group for key, group in groups.items() if key not in records]
    _check_space(generations, plan, todo)
    advance = reporter.begin(workspace.split, plan.stage.name, len(plan.stale))
    advance(earlier)
    seconds, choice = 0.0, None
    if todo:
        stores = tuple(store.path for store in plan.candidates.stores)
        whole = Task(plan.stage, staging.absolute(), stores, tuple(todo))
        tasks = deque(whole.of(batch) for batch in _batches(todo, executor.config.batch))
        elsewhere = executor.config.kind == "dask"
        offered = offer(plan.stage, staging.absolute(), raw_file) if elsewhere else None
        with _marked(staging) as died, finishing_what_is_under_way(tasks):
            choice = executor.choose(plan.stage, sum(len(group.items) for group in todo), died)
            if choice.why == DIED:
                log.warning("%s; this one isolates its workers (executor=processes)", DIED)
            with closing(executor.run(choice.kind, run_task, tasks, offered)) as endings:
                for settled, spent, done in _outcomes(endings, tasks):
                    seconds += spent
                    records |= done
                    advance(settled)
    return Computed(records, earlier, seconds, choice)


def finished_samples(generations: Generations, plan: StagePlan) -> frozenset[str]:
    """Give the stale samples that an interrupted run has finished, as its records say.

    Only a run holds their files against the records: a power cut may have emptied some.
    """
    found = {key for _, key, _ in _finished(plan, generations.staging)}
    if not found:
        return frozenset()
    return frozenset(i.sample_id for group in _groups(plan) if group.key in found for i in group.items)


def _finished(plan: StagePlan, staging: Path) -> Iterator[tuple[str, str, Record]]:
    """Give file, group and record of what an interrupted run has finished.

    Where verdicts are to be retried, not those.
    """
    for file in record_files(staging):
        for key, record in read_records(staging / file).items():
            if not (plan.retry and any(sample["verdict"] for sample in record["samples"])):
                yield file, key, record


def predicted_bytes(fields: Iterable[Field]) -> int:
    """Bytes a sample that fields are likely to take; compressed ones are taken at a third."""
    chunked = [field for field in fields if isinstance(field, Chunked)]
    raw = {f.name: math.prod(f.shape) * np.dtype(f.dtype).itemsize for f in chunked}
    return sum(raw[f.name] if f.codec == "none" else raw[f.name] // 3 for f in chunked)


def _check_space(generations: Generations, plan: StagePlan, todo: Sequence[Group]) -> None:
    """Refuse what cannot fit; chunks that a killed run has finished lie there already.

    What is stored raw is known beforehand, and what is compressed only as far as the published generation
    tells: a guess might refuse what fits, while a run that finds the disk full loses nothing.
    """
    packed = packed_samples(plan.reuse[plan.reuse != REJECTED], plan.old)
    samples = sum(len(group.items) for group in todo) + packed
    needed = samples * _certain_bytes(plan)
    folder = generations.workspace.folder
    with suppress(OSError):
        free = free_bytes(folder)
        if needed > free:
            raise PipelineError(
                f"{generations} needs about {needed / 1e6:.1f} MB and {folder} has {free / 1e6:.1f} MB free",
                Remedy("gc", rest=", make room, or set work_dir=… to another disk"),
            )


def _certain_bytes(plan: StagePlan) -> int:
    """Bytes a sample that chunks will take at least: raw ones, and compressed ones as they were before."""
    fields, old = plan.stage.fields(), plan.old
    if old is not None and old.info.fields == fields and len(old):
        chunks = {f"{field.name}/" for field in fields if isinstance(field, Chunked)}
        stored = sum(s for name, (s, _) in old.manifest.files.items() if name[: name.find("/") + 1] in chunks)
        return stored // len(old)
    return predicted_bytes(field for field in fields if isinstance(field, Chunked) and field.codec == "none")


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
def _marked(staging: Path) -> Iterator[bool]:
    """Tell whether the last run died while it computed.

    A sample that crashes its decoder takes all threads with it. The run after that finds the mark that a
    dead process could not remove, and isolates the sample.
    """
    mark = staging / ".computing"
    died = mark.exists()
    mark.touch()
    try:
        yield died
    finally:
        mark.unlink(missing_ok=True)


def _outcomes(endings: Iterator[Ended], tasks: deque[Task]) -> Iterator[tuple[int, float, dict[str, str]]]:
    """Give of each task that has ended how many samples it settled, its seconds, and its groups' records.

    A sample that took its worker is cut out of its task. It is tried once more alone, since the machine
    may have been at fault, and then gets its verdict; at once where it had all its time in a worker that
    had loaded its libraries before.
    """
    suspects = set[str]()
    for ended in endings:
        task: Task = ended.task
        try:
            seconds, records = ended.result()
            yield task.size, seconds, records
        except WorkerLost as lost:
            if lost.at < 0:
                _once_more(task, lost, suspects)
                tasks.append(task)
                continue
            item = task.items[lost.at]
            alone = Group((item,))
            if others := _without(task.groups, item):
                tasks.appendleft(task.of(others))
            if (lost.code == "crashed" or lost.fresh) and alone.key not in suspects:
                suspects.add(alone.key)
                tasks.append(task.of((alone,)))
            else:
                yield 1, 0.0, write_verdict(task.staging, item, lost)


def _once_more(task: Task, lost: WorkerLost, suspects: set[str]) -> None:
    """Raise PipelineError where a task loses its worker before its first sample for the second time."""
    if task.groups[0].key in suspects:
        raise PipelineError(
            f"{task.stage.name} on {lost.machine}: {lost.reason} before its first sample, twice; "
            "that is no verdict on a sample: see whether the machine has memory, and run again"
        )
    suspects.add(task.groups[0].key)


def _batches(groups: Sequence[Group], size: int) -> Iterator[tuple[Group, ...]]:
    batch: list[Group] = []
    for group in groups:
        batch.append(group)
        if sum(len(member.items) for member in batch) >= size:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def _without(groups: tuple[Group, ...], item: Item) -> tuple[Group, ...]:
    """Give groups without one of their samples."""
    left = (tuple(other for other in group.items if other is not item) for group in groups)
    return tuple(Group(items) for items in left if items)
