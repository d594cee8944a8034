"""Running stages over a split: compute what is stale, assemble, publish, one stage after another."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from pipeline.errors import PipelineError, Remedy
from pipeline.execution import Choice, Executor, ExecutorConfig, Reporter, assemble, compute_plan
from pipeline.files import refusal
from pipeline.planning import FileHashes, Outlook, Pipeline, StagePlan, survey
from pipeline.store import open_store
from pipeline.workspace import Generations

RUN_ANEW = Remedy("run", rest=" for a new generation")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    """What a run did for one stage of one split.

    `samples` counts all that are listed, `reused` also what a run before finished and did not publish.
    `executor` is what computed, and None where nothing was to be computed.
    """

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
    executor: Choice | None

    def as_json(self) -> dict[str, Any]:
        """Give the result as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Built:
    """Samples computed for a generation, seconds inside the stage's function, and what ran."""

    computed: int = 0
    seconds: float = 0.0
    executor: Choice | None = None


@dataclass(frozen=True)
class Builder:
    """Builds generations: where stages run, who is told how far they have come, and which files were read.

    Workers elsewhere must find a raw file that is in `hashes` as it is here.
    """

    executor: Executor
    reporter: Reporter
    hashes: FileHashes

    def build(self, generations: Generations, plan: StagePlan, only: str = "") -> Built:
        """Compute, assemble and publish what a plan leads to.

        With `only`, nothing is published but a generation whose digest begins so: PipelineError.
        """
        computed = compute_plan(generations, plan, self.executor, self.reporter, self.hashes.example())
        building = generations.begin()
        digest = assemble(plan, computed.records, generations.staging, building).digest
        if not digest.startswith(only):
            shutil.rmtree(building)
            raise PipelineError(
                f"{generations} cannot be repaired: its source or its recipe has changed since then",
                RUN_ANEW,
            )
        if plan.old is not None and digest == plan.old.digest and not (plan.damaged or only):
            shutil.rmtree(building)
        else:
            generations.publish(building, digest)
        generations.clear_staging()
        return Built(len(plan.stale) - computed.earlier, computed.seconds, computed.choice)


class Silence:
    """Tells nobody how far a stage has come."""

    def begin(self, split: str, stage: str, samples: int) -> Callable[[int], None]:
        """Give what counts nothing."""
        return lambda count: None


def run_stages(
    pipeline: Pipeline,
    names: Sequence[str],
    executor: Executor | ExecutorConfig,
    reporter: Reporter | None = None,
) -> Iterator[tuple[str, StageResult]]:
    """Run the named stages in order; yields each stage's result when it is published.

    An executor that is given serves other runs, too; of a configuration one is made for this run.
    Raises ConfigError where there is no stage of a name, PipelineError where one would stand on a stale
    store that is not among `names`.
    """
    if isinstance(executor, ExecutorConfig):
        with Executor(executor) as own:
            yield from run_stages(pipeline, names, own, reporter)
        return
    last = max((pipeline.stages.index(pipeline.stage(name)) for name in names), default=-1)
    pipeline.workspace.folder.mkdir(parents=True, exist_ok=True)
    pipeline.workspace.check_links()
    executor.expect([stage for stage in pipeline.stages if stage.name in names])
    builder = Builder(executor, reporter or Silence(), pipeline.hashes)
    for outlook in islice(survey(pipeline), last + 1):
        if outlook.stage.name in names:
            plan = _possible(outlook, names)
            yield outlook.stage.name, _bring_up_to_date(outlook, plan, builder)


def _bring_up_to_date(outlook: Outlook, plan: StagePlan, builder: Builder) -> StageResult:
    """Run one stage, computing only what is stale, and settle its outlook."""
    generations, built = outlook.generations, Built()
    fresh = outlook.store if outlook.state == "fresh" and not plan.damaged else None
    if len(plan.stale):
        builder.executor.prepare(outlook.stage, len(plan.stale))
    began = time.perf_counter()
    try:
        if fresh is None:
            built = builder.build(generations, plan)
        else:
            generations.drop()
    except OSError as error:
        raise PipelineError(
            f"{generations} stopped: {refusal(error, generations.workspace.work_dir)} "
            f"({error.filename or generations.workspace.folder}); what was published stands, and once "
            "that is mended a rerun continues from the finished chunks"
        ) from error
    store = open_store(generations.path) if fresh is None else fresh
    outlook.settle(store)
    return StageResult(
        samples=plan.listed,
        accepted=store.info.counts.accepted,
        quarantined=store.info.counts.quarantined,
        computed=built.computed,
        reused=len(plan.candidates.sample_ids) - built.computed,
        seconds=time.perf_counter() - began,
        compute_seconds=built.seconds,
        bytes=store.manifest.size,
        generation=store.generation,
        digest=store.digest,
        executor=built.executor,
    )


def _possible(outlook: Outlook, names: Sequence[str]) -> StagePlan:
    """Give the plan of a stage, one of `names`, that can run now: all that it stands on is fresh."""
    generations, plan, stale = outlook.generations, outlook.plan, outlook.waits_for()
    if stale or plan is None:
        reasons = ", ".join(f"{name} ({', '.join(other.reasons)})" for name, other in stale.items())
        raise PipelineError(f"{generations} would stand on stale {reasons}", Remedy("run", (*stale, *names)))
    if not plan.listed:
        split = generations.workspace.split
        raise PipelineError(f"split {split} lists no sample; check data.splits.{split}")
    if outlook.problem or outlook.damage:
        log.warning("%s: %s; what was lost is computed again", generations, outlook.problem or outlook.damage)
    return plan
