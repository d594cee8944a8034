"""Repairing a store: its damaged generation is built anew, from what is whole of it, with the same digest."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import RUN, PipelineError
from pipeline.maintenance.verify import verify_store
from pipeline.planning import Outlook, spare
from pipeline.runner import RUN_ANEW, Builder
from pipeline.store import read_manifest


@dataclass(frozen=True)
class Repair:
    """What a repair did to one store."""

    damaged: int
    repaired: int
    recomputed: int
    digest: str


def repair_stage(outlook: Outlook, builder: Builder) -> Repair:
    """Build a stage's current generation anew if any file of it is damaged.

    Raises PipelineError where the source or the recipe has changed since the store was written:
    then the original bytes cannot be had again, and a run is what is wanted.
    """
    generations = outlook.generations
    damaged = verify_store(generations.path).damaged
    current = generations.path.resolve()
    if not damaged:
        return Repair(0, 0, 0, read_manifest(current).digest)
    edited = next((damage.file for damage in damaged if damage.remedy == RUN), None)
    if edited:
        raise PipelineError(
            f"{generations} cannot be repaired: the raw file linked to {edited} was edited in place", RUN_ANEW
        )
    if outlook.plan is None:
        raise PipelineError(f"{generations} cannot be repaired: {', '.join(outlook.reasons)}", RUN_ANEW)
    plan = spare(outlook.plan, {damage.file for damage in damaged if not damage.stranger})
    builder.build(generations, plan, only=current.name.rpartition("-")[2])
    store = generations.open()
    assert store is not None
    outlook.settle(store)
    return Repair(len(damaged), len(damaged), len(plan.stale), store.digest)
