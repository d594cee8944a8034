"""What the samples' counts of a split do not show: remarks on its labels, and images that two splits hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ocr.splits import AnnotatedSplit, sample_id
from pipeline.errors import PipelineError, shortened
from pipeline.planning import Source
from pipeline.store import open_store
from warmstore import show
from warmstore.configuration import RunConfig


def remarks(config: RunConfig, split: str, source: Source) -> list[str]:
    """Give a sentence for each; `source` is the split's, listed already."""
    assert isinstance(source, AnnotatedSplit)
    found = list(source.notes)
    if unlabelled := source.unlabelled():
        found.append(f"no labels for {shortened(unlabelled)}; they are no samples")
    shared = {other: _in_both(config, split, other) for other in config.data.splits if other != split}
    found += [
        f"shares {show.counted(len(names), 'image')} with split {other}: {shortened(names)}"
        for other, names in shared.items()
        if names
    ]
    return found


def together(told: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Give each remark once, behind the splits that it is of: `("train, val", "no labels for b.jpg")`."""
    splits: dict[str, list[str]] = {}
    for split, said in told.items():
        for remark in said:
            splits.setdefault(remark, []).append(split)
    return [(", ".join(those), remark) for remark, those in splits.items()]


def _in_both(config: RunConfig, split: str, other: str) -> list[str]:
    """Name the images of a split that another holds too: by content where both are stored, else by path."""
    try:
        others = _stored(config, other)
        own = _stored(config, split) if others else {}
        if own and others:
            return sorted(own[image] for image in own.keys() & others.keys())
        first, second = config.data.splits[split], config.data.splits[other]
        if first.images != second.images or first.part or second.part:
            return []
        return sorted(_listed(config, split) & _listed(config, other))
    except PipelineError:  # a damaged store or wrong labels, which the command tells of its own splits
        return []


def _stored(config: RunConfig, split: str) -> dict[bytes, str]:
    """Name the samples that are stored, by the checksum of their upright image."""
    generations = config.workspace(split).generations(config.stages.canonicalize)
    return _upright_images(generations.path.resolve()) if generations.path.exists() else {}


@lru_cache(maxsize=8)
def _upright_images(generation: Path) -> dict[bytes, str]:
    store = open_store(generation)
    if not len(store):
        return {}
    checksums = store.checksums("upright")
    return {checksum.tobytes(): name for checksum, name in zip(checksums, store.sample_ids, strict=True)}


def _listed(config: RunConfig, split: str) -> set[str]:
    return {sample_id(image.file) for image in config.source(split).read.images}
