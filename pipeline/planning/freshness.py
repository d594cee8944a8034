"""Which stages are fresh, and what a run would compute: one pass that run, plan, status, explain read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pipeline.collector import collector_paused
from pipeline.errors import StoreError
from pipeline.planning.plan import UPSTREAM, StagePlan, from_source, from_stores, plan_stage
from pipeline.planning.reuse import without_damage
from pipeline.planning.source import FileHashes, Source, SourceSample
from pipeline.stage import Stage, stage_named
from pipeline.store import Store, in_words, serving
from pipeline.workspace import Generations, Workspace

State = Literal["fresh", "stale", "damaged"]


@dataclass
class Pipeline:
    """The stages over one split: everything that planning needs.

    `stages` are in order, each after those that it reads.
    """

    workspace: Workspace
    stages: Sequence[Stage]
    source: Source
    hashes: FileHashes
    retry: bool = False

    def stage(self, name: str) -> Stage:
        """Find a stage by name. Raises ConfigError where there is none."""
        return stage_named(self.stages, name)

    def samples(self) -> Sequence[SourceSample]:
        """List the split, and remember the digests of its files."""
        samples = self.source.samples(self.hashes)
        with suppress(OSError):  # a work folder that cannot be written only costs hashing again
            self.hashes.save()
        return samples


@dataclass
class Outlook:
    """One stage as a run would find it.

    store     what is published, as far as it can be opened
    problem   why nothing of it can be used: its index is not whole
    plan      on what is published upstream; None where that is missing
    above     the outlooks of the stages that it reads
    pending   samples that a run may compute above this stage: whether it computes them here depends on that
    expected  samples that the stage will hold, in order, if none that is computed is quarantined
    reasons   why it is stale, each with a number of samples, or 0 where it is of none in particular
    damage    what is lost of samples that are not stale, in words
    """

    generations: Generations
    store: Store | None
    problem: str
    plan: StagePlan | None
    above: Mapping[str, Outlook]
    pending: frozenset[str]
    expected: Sequence[str]
    reasons: dict[str, int]
    damage: str

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self.generations.stage

    @property
    def state(self) -> State:
        """A store that lacks files is damaged, unless it is stale besides: then a run heals it in passing."""
        if self.problem or (self.damage and not self.reasons):
            return "damaged"
        return "stale" if self.reasons else "fresh"

    @property
    def usable(self) -> Store | None:
        """What is published, if its index is whole."""
        return None if self.problem else self.store

    @property
    def computed(self) -> frozenset[str]:
        """Samples that a run computes here for certain, but for those that an earlier run has finished."""
        if self.plan is None:
            return frozenset()
        ids = self.plan.candidates.sample_ids
        return frozenset(ids[index] for index in self.plan.stale) - self.pending

    @property
    def changing(self) -> frozenset[str]:
        """Samples whose values a run may change: what is only lost comes back as it was."""
        lost = self.plan.lost if self.plan is not None else frozenset[str]()
        return self.pending | (self.computed - lost)

    def settle(self, store: Store) -> None:
        """Take it that a run has published what the plan leads to."""
        self.store, self.problem = store, ""
        self.plan, self.pending, self.expected = None, frozenset(), store.sample_ids
        self.reasons, self.damage = {}, ""

    def waits_for(self) -> dict[str, Outlook]:
        """Give the stages below which this one stands and that are not fresh, in order."""
        found: dict[str, Outlook] = {}
        for name, outlook in self.above.items():
            found |= outlook.waits_for()
            if outlook.reasons:
                found[name] = outlook
        return found


def survey(pipeline: Pipeline) -> Iterator[Outlook]:
    """Look at the stages in order; a run that brings one up to date settles its outlook before the next.

    Writes nothing but what is remembered of labels and files. Raises what the source raises.
    """
    found: dict[str, Outlook] = {}
    for stage in pipeline.stages:
        found[stage.name] = _look(pipeline, stage, {name: found[name] for name in stage.reads})
        yield found[stage.name]


@collector_paused()
def _look(pipeline: Pipeline, stage: Stage, above: Mapping[str, Outlook]) -> Outlook:
    generations = pipeline.workspace.generations(stage)
    store, problem = _published(generations)
    usable = None if problem else store
    stores = {name: outlook.usable for name, outlook in above.items() if outlook.usable is not None}
    pending = frozenset[str]().union(*(outlook.changing for outlook in above.values()))
    plan, reasons = None, dict[str, int]()
    unbuilt = [name for name, outlook in above.items() if outlook.store is None and not outlook.problem]
    if len(stores) == len(above):
        candidates = from_stores(stores, stage) if above else from_source(pipeline.samples(), stage)
        plan = plan_stage(stage, pipeline.stages, candidates, usable, problem, pipeline.retry)
        plan = without_damage(plan)
        reasons |= plan.why
    elif store is None:
        reasons |= {problem: 0} if problem else {"never built": len(pending)}
    elif unbuilt:
        reasons[f"{' and '.join(unbuilt)} {'are' if len(unbuilt) > 1 else 'is'} not built"] = 0
    if plan is not None or store is not None:
        stale = {name: outlook for name, outlook in above.items() if outlook.reasons and name not in unbuilt}
        if stale:  # which says it better
            reasons.pop(UPSTREAM, None)
        reasons |= {f"{name} is {outlook.state}": 0 for name, outlook in stale.items()}
    expected = _expected(plan, above, pending)
    outlook = Outlook(generations, store, problem, plan, above, pending, expected, reasons, "")
    if plan is not None and usable is not None and plan.damaged:
        harmed = serving(usable, plan.damaged, set(expected) - outlook.changing)
        outlook.damage = plan.problem or (in_words(usable, harmed) if harmed else "")
    return outlook


def _published(generations: Generations) -> tuple[Store | None, str]:
    """Open what is published, as far as that is possible; say what is wrong with it or its index."""
    store = None
    try:
        store = generations.open()
        if store is not None:
            _ = store.sample_ids, store.fingerprints, store.inputs, store.all_checksums
    except StoreError as error:
        return store, error.problem
    return store, ""


def _expected(plan: StagePlan | None, above: Mapping[str, Outlook], pending: frozenset[str]) -> Sequence[str]:
    listed: Sequence[str] = ()
    rejected: set[str] = set()
    if plan is not None:
        listed = plan.candidates.sample_ids
        rejected = {listed[index] for index in plan.known_verdicts} - pending
    if above:
        listed, *others = (outlook.expected for outlook in above.values())
        if any(other != listed for other in others):
            rejected |= set(listed) - set(listed).intersection(*others)
    return [i for i in listed if i not in rejected] if rejected else listed
