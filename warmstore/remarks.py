"""What the samples' counts of a split do not show: remarks on its labels, and images that two splits hold."""

from __future__ import annotations

from ocr.splits import AnnotatedSplit
from pipeline.errors import PipelineError
from pipeline.planning import Source
from warmstore import show
from warmstore.configuration import RunConfig


def remarks(config: RunConfig, split: str, source: Source) -> list[str]:
    """Give a sentence for each; `source` is the split's, listed already."""
    assert isinstance(source, AnnotatedSplit)
    found = list(source.notes)
    if unlabelled := source.unlabelled():
        found.append(f"no labels for {show.shortened(unlabelled)}; they are no samples")
    own = _images(config, split)
    for other in config.data.splits:
        if other != split and (shared := _images(config, other).keys() & own.keys()):
            names = show.shortened(sorted(own[image] for image in shared))
            found.append(f"{len(shared)} images are in split {other} too: {names}")
    return found


def _images(config: RunConfig, split: str) -> dict[bytes, str]:
    """Name the samples that are stored, by the checksum of their upright image."""
    try:
        store = config.workspace(split).generations(config.stages.canonicalize).open()
        if store is None or not len(store):
            return {}
        checksums = store.checksums("upright")
        return {checksum.tobytes(): name for checksum, name in zip(checksums, store.sample_ids, strict=True)}
    except PipelineError:  # a damaged store, which the command tells
        return {}
