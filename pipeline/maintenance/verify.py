"""Checking stores: every file against its checksum, and samples against what the source gives now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import BUILD, REBUILD, REPAIR, RUN, Quarantine, Remedy, StoreError, UnknownSampleError
from pipeline.execution import compute_sample
from pipeline.files import checksum, linked_outside
from pipeline.maintenance.contested import Contested, contested_verdicts
from pipeline.planning import Pipeline, SourceSample, full_recipe, full_recipe_changes
from pipeline.stage import Inputs, Stage
from pipeline.store import (
    MANIFEST,
    Manifest,
    Store,
    check_values,
    open_store,
    read_manifest,
    scan,
    serving,
    value_digest,
)

_MISSING = "is missing"
_STRANGER = "is not in the manifest"


@dataclass(frozen=True)
class DamagedFile:
    """A file that is not what was written; `samples` is empty where it serves all of them.

    `remedy` makes it whole: a run where there is nothing to restore it from; None for a store of elsewhere.
    """

    file: str
    problem: str
    samples: tuple[str, ...] = ()
    remedy: Remedy | None = REPAIR

    @property
    def stranger(self) -> bool:
        """Whether the file does not belong there at all."""
        return self.problem == _STRANGER

    def as_json(self, spell: Callable[[Remedy], str] = str) -> dict[str, Any]:
        """Give the damage as JSON values; `spell` writes the command that mends it."""
        return {**asdict(self), "samples": list(self.samples), "remedy": self.remedy and spell(self.remedy)}


@dataclass
class Verification:
    """What a check found: files checked, bytes read, files damaged, samples that differ.

    `contested`: verdicts that another generation of the same inputs does not share; no damage, but told.
    """

    checked: int = 0
    bytes: int = 0
    damaged: list[DamagedFile] = field(default_factory=list)
    recomputed: int = 0
    differs: list[dict[str, str]] = field(default_factory=list)
    contested: list[Contested] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything is as it should be."""
        return not self.damaged and not self.differs

    def as_json(self, spell: Callable[[Remedy], str] = str) -> dict[str, Any]:
        """Give the result as JSON values; `spell` writes the commands that mend it."""
        return {
            "checked": self.checked,
            "bytes": self.bytes,
            "damaged": [damage.as_json(spell) for damage in self.damaged],
            "recomputed": self.recomputed,
            "differs_from_source": self.differs,
            "contested": [contested.as_json() for contested in self.contested],
        }


def verify_store(path: Path, workers: int = 4, only: Set[str] = frozenset()) -> Verification:
    """Check every file of a store's current generation against the manifest.

    `only` restricts it to the files that hold these samples or serve all of them.
    Raises StoreError where there is no generation to check.
    """
    try:
        generation = path.resolve(strict=True)
    except OSError as error:
        raise StoreError(f"there is no store at {path} ({error.strerror})", BUILD) from None
    try:
        manifest = read_manifest(generation)
    except StoreError:
        there = (generation / MANIFEST).exists()
        problem = "does not match its own digest" if there else f"{_MISSING}: this is no complete store"
        return Verification(checked=1, damaged=[DamagedFile(MANIFEST, problem)])
    store = _readable(generation)
    chosen = serving(store, set(manifest.files), only) if only and store is not None else manifest.files
    with ThreadPoolExecutor(workers) as pool:
        names = [name for name in manifest.files if name in chosen]
        problems = pool.map(lambda name: _check(generation, name, manifest), names)
        damaged = [
            _damage(generation, name, problem, store)
            for name, problem in zip(names, problems, strict=True)
            if problem
        ]
    if not only:
        extra = sorted(set(scan(generation)) - set(manifest.files))
        damaged += [DamagedFile(name, _STRANGER) for name in extra]
    contested = _contested(store, only) if store is not None else []
    read = sum(manifest.files[name][0] for name in names)
    return Verification(len(names), read, damaged, contested=contested)


def compare_with_source(
    pipeline: Pipeline, names: Sequence[str], only: frozenset[str] = frozenset()
) -> dict[str, Verification]:
    """Recompute samples from the source, in memory, and compare them with the stores bit for bit.

    `only` restricts the comparison to some samples. Gives a result per stage named.
    Raises ConfigError where the split neither lists nor stores one of them.
    """
    samples = pipeline.source.samples(pipeline.hashes)
    chosen = [sample for sample in samples if not only or sample.sample_id in only]
    listed = {sample.sample_id for sample in samples}
    stores = {name: open_store(pipeline.workspace.generations(pipeline.stage(name)).path) for name in names}
    known = listed.union(*map(names_in, stores.values()))
    if only - known:
        raise UnknownSampleError(f"split {pipeline.workspace.split}", min(only - known), sorted(known))
    results = {name: Verification(recomputed=len(chosen)) for name in names}
    for name, store in stores.items():
        wanted, stored = full_recipe(pipeline.stage(name), pipeline.stages), store.info.recipe
        changes = full_recipe_changes(stored, wanted)
        if changes:
            raise StoreError(
                f"{store.name} was made by another recipe than the configuration's: {'; '.join(changes)}",
                REBUILD,
            )
    for sample in chosen:
        outcome = compute_chain(pipeline.stages, sample)
        for name, store in stores.items():
            found = _differences(pipeline.stage(name), store, sample.sample_id, outcome)
            results[name].differs += [{"sample_id": sample.sample_id, "problem": text} for text in found]
    for name, store in stores.items():
        results[name].differs += [
            {"sample_id": i, "problem": "is stored and not listed any more"}
            for i in store.sample_ids
            if i not in listed and (not only or i in only)
        ]
    return results


def names_in(store: Store) -> set[str]:
    """Give the names of the samples that a store speaks of: accepted and quarantined."""
    return {*store.sample_ids, *store.info.codes}


def compute_chain(stages: Sequence[Stage], sample: SourceSample) -> Mapping[str, dict[str, Any] | Quarantine]:
    """Compute a sample through all stages in memory: the online path.

    Gives by stage its outputs, or the verdict that ended the sample there or before.
    """
    outcome: dict[str, dict[str, Any] | Quarantine] = {}
    for stage in stages:
        try:
            if sample.verdict is not None:
                raise sample.verdict
            values = {}
            for upstream, names in stage.reads.items():
                given = outcome[upstream]
                if isinstance(given, Quarantine):
                    raise given
                values[upstream] = {name: given[name] for name in names}
            fields, inputs = stage.fields(), Inputs(sample.sample_id, sample.payload, values)
            computed = compute_sample(stage, fields, inputs)
            outcome[stage.name] = check_values(stage, fields, sample.sample_id, computed)
        except Quarantine as verdict:
            outcome[stage.name] = verdict
    return outcome


def _differences(
    stage: Stage, store: Store, sample_id: str, outcome: Mapping[str, dict[str, Any] | Quarantine]
) -> Iterator[str]:
    """Say what is stored otherwise than it was just computed."""
    computed, row = outcome[stage.name], store.rows.get(sample_id)
    if isinstance(computed, Quarantine):
        code = store.info.codes.get(sample_id, "accepted" if row is not None else "not there")
        if code != computed.code:
            yield f"is stored as {code} and the source gives {computed}"
        return
    if row is None:
        yield "is not stored, and the source gives it"
        return
    for declared in stage.fields():
        try:
            stored = value_digest(declared, store.value(declared.name, row))
        except StoreError as error:
            yield error.problem
            continue
        if stored != value_digest(declared, computed[declared.name]):
            yield f"{declared.name} differs"


def _contested(store: Store, only: Set[str]) -> list[Contested]:
    return [found for found in contested_verdicts(store) if not only or found.sample_id in only]


def _check(generation: Path, name: str, manifest: Manifest) -> str:
    """Say what is wrong with a file, or nothing."""
    try:
        found = checksum(generation / name)
    except OSError as error:
        return _MISSING if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    if found[0] != manifest.files[name][0]:
        return f"has {found[0]} bytes where {manifest.files[name][0]} were written"
    return "" if found[1] == manifest.files[name][1] else "does not match its checksum"


def _readable(generation: Path) -> Store | None:
    """Open a generation whose damage may be such that nothing can tell whose samples a file holds."""
    try:
        return open_store(generation)
    except StoreError:
        return None


def _damage(generation: Path, name: str, problem: str, store: Store | None) -> DamagedFile:
    """Tell damage from the edit of a raw file in place, which reaches the file that is linked to it."""
    if store is None:
        return DamagedFile(name, problem)
    samples = store.samples_in(name)
    if name not in store.kept_files or not linked_outside(generation, name):
        return DamagedFile(name, problem, samples)
    return DamagedFile(name, f"{problem}: the raw file linked to it was edited in place", samples, RUN)
