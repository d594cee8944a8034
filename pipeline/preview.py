"""Looking ahead and explaining: what a run would do, whether stores are fresh, why a sample is stale."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from pipeline.computing import finished_samples, predicted_bytes
from pipeline.damage import in_words, lost_samples, misfits, serving
from pipeline.errors import PipelineError, unknown_sample
from pipeline.files import write_aside
from pipeline.plan import COMPUTE, REJECTED, StagePlan, packed_samples, why_stale
from pipeline.recipe import recipe_changes, recipe_of
from pipeline.runner import Pipeline, StageResult
from pipeline.stage import Stage
from pipeline.store import Store
from pipeline.store_info import Counts

State = Literal["fresh", "stale", "damaged"]


@dataclass(frozen=True)
class Preview:
    """One stage of one split: what is published, whether it is fresh, what a run would compute.

    `samples` are those that the store was made of, `listed` those that the split has now.
    A store that lacks files is `damaged`, unless it is stale besides: then a run heals it in passing.
    Where a stage upstream is stale, `compute` is an upper bound: unchanged results stop there.
    Where none is, `finished` samples of an interrupted run are no longer to `compute`.
    `predicted_bytes` counts also the chunks that are packed anew because samples in them move.
    `predicted_seconds` is None where the stage was never run in this work folder.
    """

    generation: int
    digest: str
    samples: int
    accepted: int
    quarantined: int
    bytes: int
    age_seconds: float | None
    state: State
    why: list[str]
    listed: int
    compute: int
    finished: int
    predicted_bytes: int
    predicted_seconds: float | None
    tallies: dict[str, Any]

    @property
    def fresh(self) -> bool:
        """Whether a run would have nothing to do."""
        return self.state == "fresh"

    def to_json(self) -> dict[str, Any]:
        """Give the preview as JSON values."""
        return {**asdict(self), "fresh": self.fresh}


class _Work(NamedTuple):
    """Samples that there are, that a run would compute, that it finds finished, and that it would write."""

    listed: int
    compute: int
    finished: int
    written: int


def preview(pipeline: Pipeline) -> Iterator[tuple[str, Preview]]:
    """Look ahead over all stages; writes nothing but the memory of file hashes."""
    rates = read_rates(pipeline.workspace.work_dir)
    pending: dict[str, set[str]] = {}
    expected: dict[str, list[str]] = {}
    stale: set[str] = set()
    listed = 0
    for stage in pipeline.stages:
        unbuilt = [name for name in stage.reads if pipeline.workspace.open(pipeline.stage(name)) is None]
        plan, problem = (None, "") if unbuilt else _try_plan(pipeline, stage)
        upstream = set().union(*(pending[name] for name in stage.reads))
        above = [f"{name} is stale" for name in stage.reads if name in stale and name not in unbuilt]
        pending[stage.name], listed = upstream, listed if plan is None else plan.listed
        if plan is not None:
            ids = plan.candidates.sample_ids
            pending[stage.name] = upstream | {ids[i] for i in plan.stale}
            why = [f"{reason} ({count})" if count else reason for reason, count in plan.why.items()] + above
        elif pipeline.workspace.open(stage) is None:
            why = [f"never built ({len(upstream)})"]
        elif unbuilt:
            why = [f"{' and '.join(unbuilt)} {'are' if len(unbuilt) > 1 else 'is'} not built", *above]
        else:
            why = above or [problem]
        if why:
            stale.add(stage.name)
        expected[stage.name] = _expected(stage, plan, expected, upstream)
        store, changing = pipeline.workspace.open(stage), set(pending[stage.name])
        kept = set(expected[stage.name]) - changing
        damaged = serving(store, misfits(store), kept) if store is not None else frozenset()
        state: State = "stale" if why else "damaged" if damaged else "fresh"
        finished: frozenset[str] = frozenset()
        if store is not None and damaged:
            changing |= kept.intersection(lost_samples(store, damaged))
            why.append(in_words(store, damaged))
        elif plan is not None and stale.isdisjoint(stage.reads):  # else a run may group samples otherwise
            finished = finished_samples(pipeline.workspace, plan)
            why += [f"{len(finished)} finished by an interrupted run"] if finished else []
        compute = len(changing) - len(finished)
        written = compute + _packed(plan, expected[stage.name], changing)
        work = _Work(listed, compute, len(finished), written)
        yield stage.name, _describe(stage, store, state, why, work, rates)


def _expected(
    stage: Stage, plan: StagePlan | None, expected: dict[str, list[str]], changing: set[str]
) -> list[str]:
    """List the samples that a stage will hold, in order, if none that is computed is quarantined."""
    rejected: set[str] = set()
    if plan is not None:
        ids = plan.candidates.sample_ids
        rejected = {ids[index] for index in plan.known_verdicts} - changing
    if not stage.reads:
        return [i for i in ids if i not in rejected]
    first, *others = (expected[name] for name in stage.reads)
    kept = set(first).intersection(*others) - rejected
    return [i for i in first if i in kept]


def _packed(plan: StagePlan | None, ids: list[str], computed: set[str]) -> int:
    """Count the samples that a run would pack anew without computing them."""
    old = plan.old if plan is not None else None
    rows = {} if old is None else old.rows
    return packed_samples(np.array([COMPUTE if i in computed else rows.get(i, COMPUTE) for i in ids]), old)


def explain(pipeline: Pipeline, sample_id: str) -> Iterator[dict[str, Any]]:
    """Give for each stage the parts of a sample's fingerprint, and which differ from what is stored.

    Raises ConfigError where no stage knows the sample.
    """
    known: set[str] = set()
    stale: set[str] = set()
    for stage in pipeline.stages:
        plan, problem = _try_plan(pipeline, stage)
        if plan is None:
            yield {"stage": stage.name, "state": "unknown", "why": [problem]}
            continue
        verdicts = {v["sample_id"]: v for v in plan.verdicts({})}
        known |= {*verdicts, *plan.candidates.sample_ids}
        if sample_id in verdicts:
            verdict = verdicts[sample_id]
            why = [f"{verdict['stage']}: {verdict['code']}: {verdict['reason']}"]
            yield {"stage": stage.name, "state": "quarantined", "why": why}
        elif sample_id in plan.candidates.sample_ids:
            found = _explain(plan, plan.candidates.sample_ids.index(sample_id))
            above = [f"{stage.name} is stale: {name} is stale" for name in stage.reads if name in stale]
            if above or found["state"] == "stale":
                stale.add(stage.name)
                found |= {"state": "stale", "why": found["why"] + above}
            yield found
    if sample_id not in known:
        raise unknown_sample(f"split {pipeline.workspace.split}", sample_id, sorted(known))


def _explain(plan: StagePlan, index: int) -> dict[str, Any]:
    stage, candidates = plan.stage, plan.candidates
    row = plan.old.rows.get(candidates.sample_ids[index]) if plan.old else None
    stale = int(plan.reuse[index]) < 0 and int(plan.reuse[index]) != REJECTED
    stored: list[str | None] = [None] * len(candidates.names)
    if plan.old is not None and row is not None and plan.old.info.inputs == candidates.names:
        stored = [part.tobytes().hex() for part in plan.old.inputs[row]]
    return {
        "stage": stage.name,
        "state": "stale" if stale else "fresh",
        "why": [f"{stage.name} is stale: {reason}" for reason in why_stale(plan, index)] if stale else [],
        "fingerprint": plan.fingerprints[index].tobytes().hex(),
        "stored_fingerprint": None
        if plan.old is None or row is None
        else plan.old.fingerprints[row].tobytes().hex(),
        "recipe": recipe_of(stage),
        "recipe_changes": recipe_changes(plan.old.info.recipe, recipe_of(stage)) if plan.old else [],
        "inputs": {
            name: {"now": now.tobytes().hex(), "stored": before}
            for name, now, before in zip(candidates.names, candidates.inputs[index], stored, strict=True)
        },
    }


def _try_plan(pipeline: Pipeline, stage: Stage) -> tuple[StagePlan | None, str]:
    """Plan a stage, or say why that is not possible yet; a source that cannot be read passes."""
    try:
        return pipeline.plan(stage), ""
    except PipelineError as error:
        if not stage.reads:
            raise
        return None, error.problem


def _describe(
    stage: Stage,
    store: Store | None,
    state: State,
    why: list[str],
    work: _Work,
    rates: dict[str, float],
) -> Preview:
    counts = store.info.counts if store is not None else Counts()
    return Preview(
        generation=store.generation if store is not None else 0,
        digest=store.digest if store is not None else "",
        samples=counts.listed,
        accepted=counts.accepted,
        quarantined=counts.quarantined,
        bytes=store.manifest.size if store is not None else 0,
        age_seconds=time.time() - store.path.stat().st_mtime if store is not None else None,
        state=state,
        why=why,
        listed=work.listed,
        compute=work.compute,
        finished=work.finished,
        predicted_bytes=_bytes_a_sample(stage, store) * work.written,
        predicted_seconds=rates[stage.name] * work.compute if stage.name in rates else None,
        tallies=store.info.tallies if store is not None else {},
    )


def _bytes_a_sample(stage: Stage, store: Store | None) -> int:
    """As many as are stored now, in proportion: another canvas or codec takes more or less."""
    likely = predicted_bytes(stage.fields())
    if store is None:
        return likely
    now, before = store.manifest.size // len(store), predicted_bytes(store.declared.values())
    return now * likely // before if before else now


def read_rates(work_dir: Path) -> dict[str, float]:
    """Read seconds a sample by stage, from the last runs in a work folder."""
    try:
        return {
            str(name): float(rate) for name, rate in json.loads((work_dir / ".rates").read_bytes()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def remember_rate(work_dir: Path, stage: str, result: StageResult) -> None:
    """Remember how long a stage took per sample, for the next plan."""
    rates = read_rates(work_dir)
    # A few samples tell more of start-up than of themselves.
    if result.computed > result.samples // 4 or (result.computed and stage not in rates):
        rates[stage] = result.seconds / result.computed
        with suppress(OSError):  # a full disk must not fail a run that has published
            write_aside(work_dir / ".rates", json.dumps(rates).encode(), "record")
