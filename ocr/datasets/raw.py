"""The raw samples of a split, as `OnlineDataset` lists them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ocr.canonical import RawSample
from ocr.frames import LabelFrame
from ocr.source import AnnotatedSplit
from pipeline.errors import ConfigError, Quarantine
from pipeline.manifest import checksum

log = logging.getLogger(__name__)


def listed_samples(
    images: Path,
    annotations: Path,
    annotation_format: str = "auto",
    label_frame: LabelFrame = "auto",
    samples: Iterable[str] | None = None,
) -> tuple[dict[str, RawSample], dict[str, Quarantine]]:
    """Read a split's labels: raw samples by sample_id in dataset order, and verdicts of those refused.

    `samples` chooses among the accepted ones. Raises ConfigError for a name that is not.
    """
    split = AnnotatedSplit(images, annotations, annotation_format, label_frame)
    found = split.samples(lambda path: bytes.fromhex(checksum(path)[1]))
    verdicts = {sample.sample_id: sample.verdict for sample in found if sample.verdict}
    accepted: dict[str, RawSample] = {s.sample_id: s.payload for s in found if s.verdict is None}
    if verdicts:
        log.warning("%d of %d samples of %s are quarantined", len(verdicts), len(found), images)
    if samples is not None:
        wanted = list(samples)
        missing = [name for name in wanted if name not in accepted]
        if missing:
            why = f" ({verdicts[missing[0]]})" if missing[0] in verdicts else ""
            raise ConfigError(f"{images} has no usable sample {missing[0]}{why}; {len(missing)} are missing")
        accepted = {name: accepted[name] for name in wanted}
    return accepted, verdicts
