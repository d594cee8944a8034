"""What a stage has to do: which samples are stale or lost and why, which rows can be reused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.digest import DIGEST_BYTES
from pipeline.planning.recipe import fingerprints, full_recipe, input_names, recipe_changes, recipe_of
from pipeline.planning.source import SourceSample
from pipeline.stage import File, Stage, field_as_json
from pipeline.store import FORMAT_VERSION, Store, samples_per_chunk

COMPUTE = -1
REJECTED = -2

Verdict = dict[str, Any]  # sample_id, stage, code, reason and, at the stage itself, fingerprint


@dataclass
class Candidates:
    """Samples that reach a stage, in dataset order, and the verdicts on those that do not.

    `inputs` is uint8 (N, I, 16); `rows[i]` are the upstream rows of sample i, one per store in `stores`.
    """

    sample_ids: list[str]
    names: tuple[str, ...]
    inputs: NDArray[np.uint8]
    rows: NDArray[np.int64]
    payloads: Sequence[Any]
    verdicts: list[Verdict]
    stores: Sequence[Store] = ()


@dataclass
class StagePlan:
    """A stage over one split: `reuse[i]` is a row of the old generation, COMPUTE, or REJECTED.

    `old` is None where nothing is published, or nothing of it can be used: `problem` says why.
    `why` counts the reasons why samples are stale. `damaged` names files of the published generation
    that must not be taken over, and `lost` the samples that are computed again for want of them alone.
    With `retry` no verdict that the stage gave before counts, published or staged.
    """

    stage: Stage
    recipe: dict[str, Any]
    candidates: Candidates
    fingerprints: NDArray[np.uint8]
    old: Store | None
    reuse: NDArray[np.int64]
    known_verdicts: dict[int, Verdict]
    why: dict[str, int] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    problem: str = ""
    retry: bool = False

    @property
    def stale(self) -> NDArray[np.int64]:
        """Indices of the samples that must be computed."""
        return np.flatnonzero(self.reuse == COMPUTE)

    @cached_property
    def rejected_before(self) -> dict[str, str]:
        """Codes of the verdicts in the old generation, by sample."""
        return self.old.info.codes if self.old else {}

    @property
    def listed(self) -> int:
        """Number of samples listed in the split."""
        return len(self.candidates.sample_ids) + len(self.candidates.verdicts)

    def verdicts(self, found: Mapping[int, Verdict]) -> list[Verdict]:
        """Every verdict on the split: from before this stage, known, and `found` by this run."""
        here = {**self.known_verdicts, **found}
        return self.candidates.verdicts + [here[index] for index in sorted(here)]

    def attributes(self, verdicts: list[Verdict], tallies: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes of the generation that this plan leads to."""
        return {
            **self.stage.attributes(),
            "format_version": FORMAT_VERSION,
            "stage": self.stage.name,
            "recipe": self.recipe,
            "fields": [field_as_json(declared) for declared in self.stage.fields()],
            "inputs": list(self.candidates.names),
            "samples_per_chunk": samples_per_chunk(self.listed - len(verdicts)),
            "counts": {
                "listed": self.listed,
                "accepted": self.listed - len(verdicts),
                "quarantined": len(verdicts),
            },
            "quarantined": verdicts,
            "tallies": dict(tallies),
        }

    @property
    def up_to_date(self) -> bool:
        """Whether the published generation is already what this plan leads to."""
        if self.old is None or len(self.stale):
            return False
        kept = np.flatnonzero(self.reuse != REJECTED)
        same_order = [self.candidates.sample_ids[i] for i in kept] == list(self.old.sample_ids)
        # Every sample may be found in the old generation, and yet under another's name.
        same_rows = np.array_equal(self.fingerprints[kept], self.old.fingerprints)
        attributes = self.attributes(self.verdicts({}), self.old.info.tallies)
        return same_order and same_rows and attributes == self.old.attributes


def from_source(samples: Sequence[SourceSample], stage: Stage) -> Candidates:
    """Give the candidates of a stage that reads the source."""
    accepted = [sample for sample in samples if sample.verdict is None]
    names = tuple(accepted[0].inputs) if accepted else ()
    flat = b"".join(sample.inputs[name] for sample in accepted for name in names)
    return Candidates(
        sample_ids=[sample.sample_id for sample in accepted],
        names=input_names(stage, names),
        inputs=np.frombuffer(flat, dtype=np.uint8).reshape(len(accepted), len(names), DIGEST_BYTES),
        rows=np.empty((len(accepted), 0), dtype=np.int64),
        payloads=[sample.payload for sample in accepted],
        verdicts=[
            {"sample_id": s.sample_id, "stage": "source", "code": s.verdict.code, "reason": s.verdict.reason}
            for s in samples
            if s.verdict is not None
        ],
    )


def from_stores(stores: Mapping[str, Store], stage: Stage) -> Candidates:
    """Give the candidates of a stage that reads other stages' stores: the samples that all of them hold."""
    verdicts: dict[str, Verdict] = {}
    for store in stores.values():
        for verdict in store.info.quarantined:
            kept = {key: value for key, value in verdict.items() if key != "fingerprint"}
            verdicts.setdefault(verdict["sample_id"], kept)
    first, *others = stores.values()
    ids, rows = list(first.sample_ids), np.arange(len(first))[:, np.newaxis].repeat(len(stores), axis=1)
    if verdicts or any(store.sample_ids != first.sample_ids for store in others):
        ids = [i for i in ids if i not in verdicts and all(i in store.rows for store in others)]
        rows = np.array([[store.rows[i] for store in stores.values()] for i in ids], dtype=np.int64)
        rows = rows.reshape(len(ids), len(stores))
    columns = [
        store.checksums(name)[rows[:, position]]
        for position, (upstream, store) in enumerate(stores.items())
        for name in stage.reads[upstream]
    ]
    return Candidates(
        sample_ids=ids,
        names=input_names(stage),
        inputs=np.stack(columns, axis=1).reshape(len(ids), len(columns), DIGEST_BYTES),
        rows=rows,
        payloads=[None] * len(ids),
        verdicts=list(verdicts.values()),
        stores=tuple(stores.values()),
    )


def plan_stage(
    stage: Stage,
    stages: Sequence[Stage],
    candidates: Candidates,
    old: Store | None,
    problem: str = "",
    retry: bool = False,
) -> StagePlan:
    """Compare what a stage would read with what its store was made from; `problem` says why there is none.

    With `retry`, samples that the stage quarantined before are computed again.
    """
    recipe = full_recipe(stage, stages)
    wanted = fingerprints(stage, candidates.inputs)
    reuse, known = np.full(len(wanted), COMPUTE, dtype=np.int64), dict[int, Verdict]()
    if old is not None:
        reuse = _same_rows(candidates.sample_ids, wanted, old, stage)
        if not retry:
            known = _known_verdicts(old, stage, candidates.sample_ids, wanted)
            reuse[list(known)] = REJECTED
    plan = StagePlan(stage, recipe, candidates, wanted, old, reuse, known, problem=problem, retry=retry)
    plan.why = _reasons(plan)
    return plan


def _same_rows(ids: list[str], wanted: NDArray[np.uint8], old: Store, stage: Stage) -> NDArray[np.int64]:
    """Find the rows of the old generation with the wanted fingerprints, COMPUTE where there is none.

    Where files are kept they bear the sample's name, so that it has to be the same sample's.
    """
    if np.array_equal(wanted, old.fingerprints) and ids == list(old.sample_ids):
        return np.arange(len(ids))
    keys: Iterable[Any] = map(bytes, wanted)
    old_keys: Iterable[Any] = map(bytes, old.fingerprints)
    if any(isinstance(declared, File) for declared in stage.fields()):
        keys, old_keys = zip(keys, ids, strict=True), zip(old_keys, old.sample_ids, strict=True)
    rows = {key: row for row, key in enumerate(old_keys)}
    return np.array([rows.get(key, COMPUTE) for key in keys], dtype=np.int64)


def _known_verdicts(
    old: Store, stage: Stage, ids: list[str], wanted: NDArray[np.uint8]
) -> dict[int, Verdict]:
    """Find the samples that the stage has quarantined before, for the very same inputs."""
    before = {
        (verdict["sample_id"], verdict["fingerprint"]): verdict
        for verdict in old.info.quarantined
        if verdict["stage"] == stage.name
    }
    if not before:
        return {}
    found = ((i, before.get((ids[i], key.tobytes().hex()))) for i, key in enumerate(wanted))
    return {index: verdict for index, verdict in found if verdict is not None}


def why_stale(plan: StagePlan, index: int, changes: Sequence[str] | None = None) -> list[str]:
    """Say why one sample is stale: the recipe's changes, or the inputs that differ."""
    if plan.old is None:
        return [plan.problem or "never built"]
    if changes is None:
        changes = recipe_changes(plan.old.info.recipe, recipe_of(plan.stage))
    sample_id = plan.candidates.sample_ids[index]
    row = plan.old.rows.get(sample_id)
    if row is None:
        code = plan.rejected_before.get(sample_id)
        return [*changes, f"quarantined before ({code})" if code else "new"]
    if plan.candidates.names != plan.old.info.inputs:
        return [*changes, "it reads other fields than before"]
    differs = (plan.old.inputs[row] != plan.candidates.inputs[index]).any(axis=1)
    named = [name for name, other in zip(plan.candidates.names, differs, strict=True) if other]
    return [*changes, *(f"{name} changed" for name in named)]


UPSTREAM = "the order of samples changed, or a verdict or recipe of a stage before"
"""Why a store is stale of which no sample is: what it says besides samples is no longer so."""


def _reasons(plan: StagePlan) -> dict[str, int]:
    """Count the reasons over all stale samples, and say what changed besides them."""
    if plan.old is None:
        return {plan.problem: 0} if plan.problem else {"never built": len(plan.candidates.sample_ids)}
    changes = recipe_changes(plan.old.info.recipe, recipe_of(plan.stage))
    counts: Counter[str] = Counter()
    for index in plan.stale:
        counts.update(why_stale(plan, int(index), changes))
    rejected = {verdict["sample_id"] for verdict in plan.candidates.verdicts}
    before, now = list(plan.old.sample_ids), plan.candidates.sample_ids
    gone = set(before).difference(now) if before != now else set[str]()
    found = {"quarantined upstream": len(gone & rejected), "removed": len(gone - rejected)}
    counts.update({reason: count for reason, count in found.items() if count})
    if not counts and not plan.up_to_date:
        counts[UPSTREAM] = 0
    return dict(counts)
