"""Repairing a store: its damaged generation is built anew, from what is whole of it, with the same digest."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.computing import Reporter
from pipeline.damage import spare
from pipeline.errors import RUN, PipelineError
from pipeline.executors import ExecutorConfig
from pipeline.manifest import read_manifest
from pipeline.runner import RUN_ANEW, Pipeline, build
from pipeline.stage import Stage
from pipeline.verify import verify_store


@dataclass(frozen=True)
class Repair:
    """What a repair did to one store."""

    damaged: int
    repaired: int
    recomputed: int
    digest: str


def repair_stage(pipeline: Pipeline, stage: Stage, config: ExecutorConfig, reporter: Reporter) -> Repair:
    """Build a stage's current generation anew if any file of it is damaged.

    Raises PipelineError where the source or the recipe has changed since the store was written:
    then the original bytes cannot be had again, and a run is what is wanted.
    """
    path = pipeline.workspace.store_path(stage)
    damaged = verify_store(path).damaged
    generation = path.resolve()
    if not damaged:
        return Repair(0, 0, 0, read_manifest(generation).digest)
    edited = next((damage.file for damage in damaged if damage.remedy == RUN), None)
    if edited:
        raise PipelineError(
            f"{stage.name} of split {pipeline.workspace.split} cannot be repaired: the raw file linked to "
            f"{edited} was edited in place",
            RUN_ANEW,
        )
    plan = spare(pipeline.plan(stage), {damage.file for damage in damaged if not damage.stranger})
    wanted = generation.name.rpartition("-")[2]
    built = build(pipeline, plan, config, reporter, only=wanted)
    return Repair(len(damaged), len(damaged), len(plan.stale), built.digest)
