"""Running stages over a split: plan, compute what is stale, assemble, publish, one stage after another."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.assemble import assemble
from pipeline.computing import Reporter, compute_plan
from pipeline.damage import misfits, without_damage
from pipeline.errors import PipelineError, Remedy, StoreError
from pipeline.executors import ExecutorConfig
from pipeline.plan import (
    Candidates,
    StagePlan,
    from_source,
    from_stores,
    plan_stage,
)
from pipeline.source import FileHashes, Source
from pipeline.stage import Stage
from pipeline.store import Store
from pipeline.workspace import Workspace

RUN_ANEW = Remedy("run", otherwise=" for a new generation")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    """What a run did for one stage of one split.

    `samples` counts all that are listed, `reused` also what a run before finished and did not publish.
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

    def to_json(self) -> dict[str, Any]:
        """Give the result as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Built:
    """Samples computed for a generation, seconds inside the stage's function, the generation's digest."""

    computed: int
    seconds: float
    digest: str


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
        return plan_stage(stage, self.stages, self.candidates(stage), self._usable(stage), self.retry)

    def _usable(self, stage: Stage) -> Store | None:
        """Open the current generation if its index is whole; one that is damaged is built anew."""
        try:
            store = self.workspace.open(stage)
            if store is not None:
                _ = store.sample_ids, store.fingerprints, store.inputs, store.all_checksums
            return store
        except StoreError as error:
            log.warning("%s; it is not reused", error.problem)
            return None

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
                    f"{stage.name} of split {self.workspace.split} reads {name}, which has not been built",
                    Remedy("run", (name, stage.name)),
                )
            stores[name] = store
        return stores


def run_stages(
    pipeline: Pipeline, names: Sequence[str], executor: ExecutorConfig, reporter: Reporter
) -> Iterator[tuple[str, StageResult]]:
    """Run the named stages in order; yields each stage's result when it is published.

    Raises PipelineError where a stage would stand on a stale store that is not among `names`.
    """
    pipeline.workspace.folder.mkdir(parents=True, exist_ok=True)
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
    computed, compute_seconds = 0, 0.0
    try:
        if plan.old is not None and plan.up_to_date and not misfits(plan.old):
            workspace.drop(stage)
        else:
            plan = without_damage(plan)
            built = build(pipeline, plan, config, reporter)
            computed, compute_seconds = built.computed, built.seconds
    except OSError as error:
        raise PipelineError(
            f"{stage.name} of split {workspace.split} stopped: {error.strerror or error} "
            f"({error.filename or workspace.folder}); what was published stands, and a rerun continues "
            "from the finished chunks once there is room and the folder can be written"
        ) from error
    store = workspace.open(stage)
    if store is None:
        raise PipelineError(f"{workspace.store_path(stage)} has vanished under the run; run again")
    counts = store.info.counts
    return StageResult(
        samples=plan.listed,
        accepted=counts.accepted,
        quarantined=counts.quarantined,
        computed=computed,
        reused=len(plan.candidates.sample_ids) - computed,
        seconds=time.perf_counter() - began,
        compute_seconds=compute_seconds,
        bytes=store.manifest.size,
        generation=store.generation,
        digest=store.digest,
    )


def _refuse_stale(pipeline: Pipeline, stage: Stage, names: Sequence[str]) -> None:
    """Refuse to build on stores that are stale themselves, unless this run has brought them up to date."""
    stale = _stale_upstream(pipeline, stage, names)
    if stale:
        reasons = ", ".join(f"{name} ({why})" for name, why in stale.items())
        raise PipelineError(
            f"{stage.name} of split {pipeline.workspace.split} would stand on stale {reasons}",
            Remedy("run", (*stale, stage.name)),
        )


def _stale_upstream(pipeline: Pipeline, stage: Stage, names: Sequence[str]) -> dict[str, str]:
    """Find the stages that `stage` stands on, are not among `names` and are stale; gives the reasons."""
    found: dict[str, str] = {}
    for name in stage.reads:
        if name in names or name in found:
            continue
        upstream = pipeline.stage(name)
        found |= _stale_upstream(pipeline, upstream, names)
        if pipeline.workspace.open(upstream) is None:
            found[name] = "never built"
        elif above := [f"{other} is stale" for other in upstream.reads if other in found]:
            found[name] = ", ".join(above)
        elif not (plan := pipeline.plan(upstream)).up_to_date:
            found[name] = ", ".join(plan.why)
    return found


def build(
    pipeline: Pipeline, plan: StagePlan, config: ExecutorConfig, reporter: Reporter, only: str = ""
) -> Built:
    """Compute, assemble and publish; with `only`, nothing but a generation whose digest begins so."""
    workspace, stage = pipeline.workspace, plan.stage
    records, earlier, seconds = compute_plan(workspace, plan, config, reporter)
    building = workspace.begin(stage)
    manifest = assemble(plan, records, workspace.staging(stage), building)
    if not manifest.digest.startswith(only):
        shutil.rmtree(building)
        raise PipelineError(
            f"{stage.name} of split {workspace.split} cannot be repaired: its source or its recipe has "
            "changed since it was written",
            RUN_ANEW,
        )
    if plan.old is not None and manifest.digest == plan.old.digest and not only and not plan.damaged:
        shutil.rmtree(building)
    else:
        workspace.publish(stage, building, manifest.digest)
    shutil.rmtree(workspace.staging(stage))
    return Built(len(plan.stale) - earlier, seconds, manifest.digest)
