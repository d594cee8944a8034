"""What damage in a generation means: whose samples are lost, and what a run must compute again."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from contextlib import suppress

from pipeline.errors import StoreError
from pipeline.manifest import scan
from pipeline.plan import COMPUTE, StagePlan, plan_stage
from pipeline.stage import Chunked, File, Stage
from pipeline.store import Store

log = logging.getLogger(__name__)


class Owners:
    """Finds the samples in a file, as far as the store still tells; without a store it tells nothing."""

    def __init__(self, store: Store | None) -> None:
        self._store, self._ids = None, ()  # type: Store | None, tuple[str, ...]
        self._kept_in: dict[str, dict[str, list[str]]] = {}
        if store is not None:
            try:
                self._store, self._ids = store, store.sample_ids
            except StoreError:
                self._store = None

    def of(self, name: str) -> tuple[str, ...]:
        """Give the samples in a file; none where it serves all of them."""
        if self._store is None:
            return ()
        folder, _, file = name.rpartition("/")
        if isinstance(self._store.declared.get(folder), Chunked) and file.startswith("c."):
            first = int(file.split(".")[1]) * self._store.samples_per_chunk
            return self._ids[first : first + self._store.samples_per_chunk]
        field = self.file_field(name)
        if field is None:
            return ()
        if field.name not in self._kept_in:
            owners: dict[str, list[str]] = {}
            with suppress(StoreError):
                for sample_id, path in zip(self._ids, self._store.small(field.name), strict=True):
                    owners.setdefault(path, []).append(sample_id)
            self._kept_in[field.name] = owners
        return tuple(self._kept_in[field.name].get(name.removeprefix(f"{field.directory}/"), ()))

    def serves(self, name: str, only: Set[str]) -> bool:
        """Tell whether a file holds any of the samples `only`, or serves all of them."""
        owners = self.of(name)
        return not owners or not only.isdisjoint(owners)

    def file_field(self, name: str) -> File | None:
        """Give the File field that keeps a file, if one does."""
        if self._store is None:
            return None
        fields = (field for field in self._store.declared.values() if isinstance(field, File))
        return next((field for field in fields if name.startswith(f"{field.directory}/")), None)


def without_damage(plan: StagePlan, stages: Sequence[Stage]) -> StagePlan:
    """Plan to compute again what the old generation no longer holds whole, as far as a look tells.

    Small fields are read; of chunks and files the sizes are compared (`verify` reads them all).
    """
    old = plan.old
    if old is None:
        return plan
    try:
        for name, field in old.declared.items():
            if not isinstance(field, Chunked):
                old.small(name)
    except StoreError as error:
        log.warning("%s; all of its samples are computed again", error)
        return plan_stage(plan.stage, stages, plan.candidates, None)
    sizes = scan(old.path)
    damaged = {name for name, (size, _) in old.manifest.files.items() if sizes.get(name) != size}
    if not damaged:
        return plan
    owners = Owners(old)
    lost = {sample_id for name in damaged for sample_id in owners.of(name)}
    reused = {old.sample_ids[row] for row in plan.reuse[plan.reuse >= 0]}
    for sample_id in sorted(lost & reused):  # what was edited is computed for that reason
        log.warning("%s of %s is damaged and is computed again", plan.stage.name, sample_id)
    spare(plan, frozenset(damaged), lost)
    return plan


def spare(plan: StagePlan, damaged: frozenset[str], lost: Set[str]) -> None:
    """Take nothing from `damaged` files of the old generation, nor from the rows of the samples `lost`."""
    plan.damaged = damaged
    for index, row in enumerate(plan.reuse.tolist()):
        if row >= 0 and plan.old is not None and plan.old.sample_ids[row] in lost:
            plan.reuse[index] = COMPUTE
