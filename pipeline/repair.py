"""Repairing a store in place: exactly the files that are damaged, until its digest is the original's."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.assemble import assemble
from pipeline.computing import Reporter, compute_plan
from pipeline.damage import spare
from pipeline.errors import RUN, PipelineError, Remedy, StoreError
from pipeline.executors import ExecutorConfig
from pipeline.files import sync, write_aside
from pipeline.manifest import MANIFEST, Manifest, checksum, read_manifest, scan
from pipeline.plan import StagePlan, plan_stage
from pipeline.runner import Pipeline
from pipeline.salvage import salvage
from pipeline.stage import Stage
from pipeline.verify import Damage, verify_store

_RUN_ANEW = Remedy("run", otherwise=" for a new generation")


@dataclass(frozen=True)
class Repair:
    """What a repair did to one store."""

    damaged: int
    repaired: int
    recomputed: int
    digest: str


def repair_stage(pipeline: Pipeline, stage: Stage, config: ExecutorConfig, reporter: Reporter) -> Repair:
    """Rebuild the damaged files of a stage's current generation.

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
            _RUN_ANEW,
        )
    if [damage.file for damage in damaged] == [MANIFEST]:
        manifest = _manifest_from_files(generation)
        if manifest:
            write_aside(generation / MANIFEST, manifest.dump(), "manifest")
            sync(generation / MANIFEST)
            return Repair(1, 1, 0, manifest.digest)
    return _rebuild(pipeline, stage, generation, damaged, config, reporter)


def _rebuild(
    pipeline: Pipeline,
    stage: Stage,
    generation: Path,
    damaged: Sequence[Damage],
    config: ExecutorConfig,
    reporter: Reporter,
) -> Repair:
    plan = _plan(pipeline, stage, damaged)
    workspace = pipeline.workspace
    records = compute_plan(workspace, plan, config, reporter).records
    building = workspace.begin(stage)
    try:
        manifest = assemble(plan, records, workspace.staging(stage), building)
        if not generation.name.endswith(f"-{manifest.digest[:16]}"):
            raise PipelineError(
                f"{stage.name} of split {workspace.split} cannot be repaired: its source or its recipe has "
                "changed since it was written",
                _RUN_ANEW,
            )
        replaced = _replace(building, generation, manifest)
    finally:
        shutil.rmtree(building)
        shutil.rmtree(workspace.staging(stage), ignore_errors=True)
    return Repair(len(damaged), replaced, len(plan.stale), manifest.digest)


def _plan(pipeline: Pipeline, stage: Stage, damaged: Sequence[Damage]) -> StagePlan:
    """Plan to recompute the samples in damaged files; all of them where a small field is damaged."""
    candidates = pipeline.candidates(stage)
    plan = plan_stage(stage, pipeline.stages, candidates, None)
    shared = {damage.file for damage in damaged if not (damage.stranger or damage.samples)}
    needed = {name for name in shared if not name.endswith("/zarr.json")}  # the others follow from the plan
    path = pipeline.workspace.store_path(stage)
    old = salvage(path.resolve(), shared, plan) if needed else pipeline.workspace.open(stage)
    if old is not None:
        plan = plan_stage(stage, pipeline.stages, candidates, old)
    lost = {sample_id for damage in damaged for sample_id in damage.samples}
    spare(plan, frozenset(damage.file for damage in damaged), lost)
    return plan


def _replace(building: Path, generation: Path, manifest: Manifest) -> int:
    """Move good files over bad ones, remove strangers; readers that mapped a file keep theirs."""
    replaced, folders = 0, {generation}
    for name, entry in manifest.files.items():
        target = generation / name
        if not target.is_file() or checksum(target) != entry:
            target.parent.mkdir(parents=True, exist_ok=True)
            (building / name).replace(target)
            folders.add(target.parent)
            replaced += 1
    for name in set(scan(generation)) - set(manifest.files):
        (generation / name).unlink()
        replaced += 1
    try:
        whole = read_manifest(generation).digest == manifest.digest
    except StoreError:
        whole = False
    if not whole:
        (building / MANIFEST).replace(generation / MANIFEST)
        replaced += 1
    for folder in folders:
        sync(folder)
    return replaced


def _manifest_from_files(generation: Path) -> Manifest | None:
    """Rebuild a lost manifest from files that are all intact: the generation's name proves it."""
    manifest = Manifest({name: checksum(generation / name) for name in sorted(scan(generation))})
    return manifest if generation.name.endswith(f"-{manifest.digest[:16]}") else None
