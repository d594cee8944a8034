"""Looking ahead and explaining: what a run would do, whether stores are fresh, why a sample is stale."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.errors import StoreError, UnknownSampleError
from pipeline.execution import finished_samples, predicted_bytes
from pipeline.files import write_aside
from pipeline.maintenance.probe import Finding, remembered_probe
from pipeline.planning import (
    COMPUTE,
    Outlook,
    Pipeline,
    StagePlan,
    State,
    packed_samples,
    recipe_changes,
    recipe_of,
    survey,
    why_stale,
)
from pipeline.runner import StageResult
from pipeline.stage import Stage
from pipeline.store import Counts, Store, serving
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Preview:
    """One stage of one split: what is published, whether it is fresh, what a run would compute.

    `samples` are those that the store was made of, `listed` those that the split has now.
    A store that lacks files is `damaged`, unless it is stale besides: then a run heals it in passing.
    It is `unknown` whether it is fresh where the data set is not there (see `preview_stored`).
    A run computes at most `compute` samples, and `certain` of them in any case: below a stage that is
    stale, unchanged results stop there. Where none is, `finished` samples of an interrupted run are no
    longer to `compute`.
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
    state: State | Literal["unknown"]
    why: list[str]
    listed: int
    compute: int
    certain: int
    finished: int
    predicted_bytes: int
    predicted_seconds: float | None
    tallies: dict[str, Any]

    @property
    def fresh(self) -> bool:
        """Whether a run would have nothing to do."""
        return self.state == "fresh"

    def as_json(self) -> dict[str, Any]:
        """Give the preview as JSON values."""
        return {**asdict(self), "fresh": self.fresh}


def preview(pipeline: Pipeline) -> Iterator[tuple[str, Preview]]:
    """Look ahead over all stages; writes nothing but what is remembered of labels and files."""
    rates, found = read_rates(pipeline.workspace.work_dir), remembered_probe(pipeline)
    listed = 0
    for outlook in survey(pipeline):
        listed = listed if outlook.plan is None else outlook.plan.listed
        name = outlook.stage.name
        probed = found.stages.get(name) if found is not None else None
        yield name, _preview(outlook, listed, rates.get(name), probed)


def preview_stored(workspace: Workspace, stages: Sequence[Stage], why: str) -> Iterator[tuple[str, Preview]]:
    """Give what is stored where it cannot be told whether that is fresh, and `why`; writes nothing."""
    for stage in stages:
        generations, store, problem = workspace.generations(stage), None, ""
        try:
            store = generations.open()
        except StoreError as error:
            problem = error.problem
        reasons = {problem or (why if store is not None else "never built"): 0}
        outlook = Outlook(generations, store, problem, None, {}, frozenset(), (), reasons, "")
        found = _preview(outlook, 0, None, None)
        yield stage.name, found if store is None else replace(found, state="unknown")


def _preview(outlook: Outlook, listed: int, rate: float | None, probed: Finding | None) -> Preview:
    store, why = (
        outlook.store,
        [f"{name} ({count})" if count else name for name, count in outlook.reasons.items()],
    )
    why += [outlook.damage] if outlook.damage else []
    found = finished_samples(outlook.generations, outlook.plan) if outlook.plan is not None else frozenset()
    finished = frozenset[str]() if outlook.waits_for() else found  # a run may group samples otherwise
    why += [f"{len(finished)} finished by an interrupted run"] if finished else []
    asked = outlook.pending | outlook.computed
    compute = len(asked) - len(finished)
    counts = store.info.counts if store is not None else Counts()
    return Preview(
        generation=store.generation if store is not None else 0,
        digest=store.digest if store is not None else "",
        samples=counts.listed,
        accepted=counts.accepted,
        quarantined=counts.quarantined,
        bytes=store.manifest.size if store is not None else 0,
        age_seconds=time.time() - store.path.stat().st_mtime if store is not None else None,
        state=outlook.state,
        why=why,
        listed=listed,
        compute=compute,
        certain=len(outlook.computed - found),
        finished=len(finished),
        predicted_bytes=_bytes_a_sample(outlook.stage, store, probed) * (compute + _packed(outlook, asked)),
        predicted_seconds=None if rate is None else rate * compute,
        tallies=store.info.tallies if store is not None else {},
    )


def _packed(outlook: Outlook, computed: Set[str]) -> int:
    """Count the samples that a run would pack anew without computing them."""
    old = outlook.plan.old if outlook.plan is not None else None
    rows = {} if old is None else old.rows
    ids = outlook.expected
    return packed_samples(np.array([COMPUTE if i in computed else rows.get(i, COMPUTE) for i in ids]), old)


def explain(pipeline: Pipeline, sample_id: str) -> Iterator[dict[str, Any]]:
    """Give for each stage the parts of a sample's fingerprint, and which differ from what is stored.

    Raises ConfigError where no stage knows the sample.
    """
    known: set[str] = set()
    for outlook in survey(pipeline):
        if outlook.plan is not None:
            verdicts = {v["sample_id"]: v for v in outlook.plan.verdicts({})}
            known |= {*verdicts, *outlook.plan.candidates.sample_ids}
        yield from _explain(outlook, sample_id)
    if sample_id not in known:
        raise UnknownSampleError(f"split {pipeline.workspace.split}", sample_id, sorted(known))


def _explain(outlook: Outlook, sample_id: str) -> Iterator[dict[str, Any]]:
    """Say how a stage stands with a sample, if it knows it."""
    stage, plan = outlook.stage, outlook.plan
    if plan is None:
        yield {"stage": stage.name, "state": "unknown", "why": list(outlook.reasons)}
        return
    verdict = next((v for v in plan.verdicts({}) if v["sample_id"] == sample_id), None)
    above = [name for name, other in outlook.above.items() if sample_id in other.changing]
    stale = [f"{stage.name} is stale: {name} is stale" for name in above]
    if verdict and not above:
        why = [f"{verdict['stage']}: {verdict['code']}: {verdict['reason']}"]
        yield {"stage": stage.name, "state": "quarantined", "why": why}
    elif sample_id in plan.candidates.sample_ids:
        yield _parts(plan, plan.candidates.sample_ids.index(sample_id), stale)
    elif above:
        yield {"stage": stage.name, "state": "stale", "why": stale}


def _parts(plan: StagePlan, index: int, above: Sequence[str]) -> dict[str, Any]:
    """Give the parts of a sample's fingerprint, now and as they are stored."""
    stage, old, candidates = plan.stage, plan.old, plan.candidates
    sample_id = candidates.sample_ids[index]
    lost, stale = [], list(above)
    if old is not None and sample_id in plan.lost:
        files = ", ".join(sorted(serving(old, plan.damaged, {sample_id})))
        lost = [f"{stage.name} is damaged: {plan.problem or f'missing or of another size: {files}'}"]
    elif plan.reuse[index] == COMPUTE:
        stale = [f"{stage.name} is stale: {reason}" for reason in why_stale(plan, index)] + stale
    row = old.rows.get(sample_id) if old is not None else None
    before: list[str | None] = [None] * len(candidates.names)
    if old is not None and row is not None and old.info.inputs == candidates.names:
        before = [part.tobytes().hex() for part in old.inputs[row]]
    return {
        "stage": stage.name,
        "state": "stale" if stale else "damaged" if lost else "fresh",
        "why": stale + lost,
        "fingerprint": plan.fingerprints[index].tobytes().hex(),
        "stored_fingerprint": None if old is None or row is None else old.fingerprints[row].tobytes().hex(),
        "recipe": recipe_of(stage),
        "recipe_changes": recipe_changes(old.info.recipe, recipe_of(stage)) if old is not None else [],
        "inputs": {
            name: {"now": now.tobytes().hex(), "stored": stored}
            for name, now, stored in zip(candidates.names, candidates.inputs[index], before, strict=True)
        },
    }


def _bytes_a_sample(stage: Stage, store: Store | None, probed: Finding | None) -> int:
    """As many as a probe found, or as are stored now, in proportion: another canvas takes more or less."""
    if probed is not None:
        return round(probed.bytes)
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
