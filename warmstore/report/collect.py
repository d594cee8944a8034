"""Collecting a report's facts from a work folder; nothing is written, and damage is told, not raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pipeline.errors import Remedy, StoreError
from pipeline.files import bytes_freed, free_bytes
from pipeline.maintenance import Preview
from pipeline.store import Store
from warmstore.options import Invocation
from warmstore.report.duplicates import twins
from warmstore.report.facts import Report, Storage, Turned
from warmstore.report.labels import SplitLabels, distributions, read_labels, turned
from warmstore.report.trainings import runs_with_metric

LABELS = ("canonicalize", "tensors")
"""Stages whose stores hold the ground truth; the first that is there is read."""


def collect(
    asked: Invocation, previews: Mapping[str, Mapping[str, Preview]], remarks: Mapping[str, Sequence[str]]
) -> Report:
    """Collect all facts but pictures: `previews` and `remarks` are those that `status` shows."""
    config = asked.config
    told = {split: list(said) for split, said in remarks.items()}
    stores = {split: {store.stage: store for store in asked.stores(split, told=True)} for split in previews}
    labels: dict[str, SplitLabels] = {}
    changed: list[Turned] = []
    canonical: dict[str, Store] = {}
    for split, opened in stores.items():
        try:
            for stage in [name for name in LABELS if name in opened][:1]:
                labels[split] = read_labels(opened[stage], config)
            if "canonicalize" in opened:
                changed += turned(split, opened["canonicalize"])
                opened["canonicalize"].checksums("upright")
                canonical[split] = opened["canonicalize"]
        except StoreError as error:
            error.spell = asked.spell
            told.setdefault(split, []).append(str(error))
    return Report(
        name=asked.composed.name,
        work_dir=str(config.work_dir),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        canvas=config.canvas,
        stages=previews,
        quarantined={s: list(opened.values())[-1].info.quarantined for s, opened in stores.items() if opened},
        remarks=told,
        turned=changed,
        text={split: found.text for split, found in labels.items()},
        lossy={split: frozenset(found.lossy) for split, found in labels.items()},
        distributions=distributions(labels, config.stages.maps.min_text_size) if labels else (),
        twins=twins(canonical),
        runs=runs_with_metric(config),
        storage=_storage(asked, stores),
        frees=asked.spell(Remedy("gc")),
        shows_frames=asked.spell(Remedy("inspect", ("--frames", "--output", "frames.png"))),
    )


def _storage(asked: Invocation, stores: Mapping[str, Mapping[str, Store]]) -> Storage:
    config = asked.config
    fields = {
        split: {stage: _bytes_by_field(store) for stage, store in opened.items()}
        for split, opened in stores.items()
    }
    old = [
        config.workspace(split).generations(stage).collect(0, dry_run=True).freed
        for split in stores
        for stage in config.stages.in_order()
    ]
    return Storage(fields, sum(old), bytes_freed(config.runs_dirs), free_bytes(config.work_dir))


def _bytes_by_field(store: Store) -> dict[str, int]:
    """Add up the files of each field; what describes the store is `metadata`, files kept are by folder."""
    found: dict[str, int] = {}
    for name, (size, _) in store.manifest.files.items():
        folder, slash, _ = name.partition("/")
        key = folder if slash else "metadata"
        found[key] = found.get(key, 0) + size
    return found
