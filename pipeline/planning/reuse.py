"""What of an old generation serves again: not what is damaged, and only whole chunks as they are."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StoreError
from pipeline.planning.plan import COMPUTE, REJECTED, StagePlan
from pipeline.stage import Chunked
from pipeline.store import Store, lost_samples, misfits, samples_per_chunk


def without_damage(plan: StagePlan) -> StagePlan:
    """Plan to compute again what the old generation no longer holds whole, as far as a look tells.

    Of chunks and files the sizes are compared; small fields are read where a generation is to be built.
    """
    old = plan.old
    if old is None:
        return plan
    damaged = misfits(old)
    if damaged:
        plan = spare(plan, damaged)
    elif not plan.why:
        return plan
    try:
        chunked = {name for name, declared in old.declared.items() if isinstance(declared, Chunked)}
        for name in old.index.names - chunked if (plan.reuse >= 0).any() else ():
            old.index.check(name)
    except StoreError as error:
        return replace(spare(plan, set(old.manifest.files)), problem=error.problem)
    return plan


def spare(plan: StagePlan, damaged: Set[str]) -> StagePlan:
    """Plan to take nothing from damaged files of the old generation, and no row that was in one."""
    old = plan.old
    if old is None:
        return plan
    lost = lost_samples(old, damaged)
    rows = [COMPUTE if row >= 0 and old.sample_ids[row] in lost else row for row in plan.reuse.tolist()]
    reuse = np.array(rows, dtype=np.int64)
    again = np.flatnonzero(reuse != plan.reuse)
    return replace(
        plan,
        reuse=reuse,
        damaged=plan.damaged | damaged,
        lost=plan.lost.union(plan.candidates.sample_ids[index] for index in again),
    )


def packed_samples(rows: NDArray[np.int64], old: Store | None) -> int:
    """Count the samples in chunks that are neither computed whole nor taken over as they are.

    `rows` are the generation's samples in order: a row of the old one, or COMPUTE. Such chunks are
    packed from stored bytes: where several samples share one, and one of them is computed, or one
    was inserted or removed before them.
    """
    count = samples_per_chunk(len(rows))
    chunks = np.append(rows, np.full(-len(rows) % count, REJECTED)).reshape(-1, count)
    whole = (chunks == COMPUTE).all(axis=1)
    if old is not None and old.samples_per_chunk == count:
        same = chunks[:, :1] + np.arange(count)
        same[same >= len(old)] = REJECTED
        whole |= (chunks[:, 0] >= 0) & (chunks[:, 0] % count == 0) & (chunks == same).all(axis=1)
    return int((chunks[~whole] != REJECTED).sum())
