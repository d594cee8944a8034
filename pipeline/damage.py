"""What damage in a generation means: whose samples are lost, and what a run must compute again."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import replace

import numpy as np

from pipeline.errors import StoreError
from pipeline.manifest import scan
from pipeline.plan import COMPUTE, REJECTED, StagePlan
from pipeline.stage import Chunked, File
from pipeline.store import Store

log = logging.getLogger(__name__)

_NAMED = 3


class Owners:
    """Finds the samples in a file, as far as the store still tells; without a store it tells nothing."""

    def __init__(self, store: Store | None) -> None:
        self._store, self.ids = None, ()  # type: Store | None, tuple[str, ...]
        self._kept_in: dict[str, dict[str, list[str]]] = {}
        if store is not None:
            with suppress(StoreError):
                self._store, self.ids = store, store.sample_ids

    def of(self, name: str) -> tuple[str, ...]:
        """Give the samples in a file; none where it serves all of them."""
        if self._store is None:
            return ()
        folder, _, file = name.rpartition("/")
        if isinstance(self._store.declared.get(folder), Chunked) and file.startswith("c."):
            first = int(file.split(".")[1]) * self._store.samples_per_chunk
            return self.ids[first : first + self._store.samples_per_chunk]
        field = self.file_field(name)
        if field is None:
            return ()
        if field.name not in self._kept_in:
            owners: dict[str, list[str]] = {}
            with suppress(StoreError):
                for sample_id, path in zip(self.ids, self._store.small(field.name), strict=True):
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


def misfits(store: Store) -> frozenset[str]:
    """List a generation's folders: which files are missing, or have another size than was written.

    Nothing is read; what has its size and other bytes is found by `verify`, and by whoever reads it.
    """
    sizes = scan(store.path)
    return frozenset(name for name, (size, _) in store.manifest.files.items() if sizes.get(name) != size)


def serving(store: Store, names: Set[str], samples: Set[str]) -> frozenset[str]:
    """Choose the files that hold any of these samples, or serve all of them."""
    owners = Owners(store)
    return frozenset(name for name in names if owners.serves(name, samples))


def lost_samples(store: Store, damaged: Set[str]) -> Sequence[str]:
    """Give the samples that are computed again for want of files, in order; all for one that serves all.

    Of metadata nothing is lost: a run knows what to write.
    """
    owners = Owners(store)
    lost: set[str] = set()
    for name in damaged:
        samples = owners.of(name)
        if not samples and not name.endswith("zarr.json"):
            return owners.ids
        lost.update(samples)
    return [sample_id for sample_id in owners.ids if sample_id in lost]


def in_words(store: Store, damaged: Set[str]) -> str:
    """Say how many files are damaged, and of which samples; the files' names where they serve all."""
    owners = Owners(store)
    lost = {sample_id for name in damaged for sample_id in owners.of(name)}
    named = [i for i in owners.ids if i in lost] or sorted(damaged)
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    files = "1 file is" if len(damaged) == 1 else f"{len(damaged)} files are"
    return f"{files} missing or of another size ({', '.join(named[:_NAMED])}{more})"


def without_damage(plan: StagePlan) -> StagePlan:
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
        log.warning("%s; all of its samples are computed again", error.problem)
        return replace(plan, old=None, reuse=np.where(plan.reuse == REJECTED, REJECTED, COMPUTE))
    damaged = misfits(old)
    if not damaged:
        return plan
    reused = {old.sample_ids[row] for row in plan.reuse[plan.reuse >= 0]}
    unexpected = serving(old, damaged, reused)  # what was edited is computed for that reason
    if unexpected:
        log.warning("%s in %s; what they held is computed again", in_words(old, unexpected), old.name)
    return spare(plan, damaged)


def spare(plan: StagePlan, damaged: Set[str]) -> StagePlan:
    """Plan to take nothing from damaged files of the old generation; one that serves all spoils all."""
    old = plan.old
    if old is None:
        return plan
    lost = set(lost_samples(old, damaged))
    rows = [COMPUTE if row >= 0 and old.sample_ids[row] in lost else row for row in plan.reuse.tolist()]
    return replace(
        plan,
        old=old if len(lost) < len(old) else None,
        reuse=np.array(rows, dtype=np.int64),
        damaged=frozenset(damaged),
    )
