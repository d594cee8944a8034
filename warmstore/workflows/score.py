"""Scoring what a detector wrote into a file against a split's ground truth."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ocr.annotations import image_ids, match_names, read_results
from ocr.geometry import Points, transform_points, upright_matrix, upright_size
from pipeline.errors import ConfigError, shortened
from pipeline.store import Store, open_store
from warmstore.configuration import RunConfig
from warmstore.workflows.inputs import checked_store
from warmstore.workflows.runs import run_folder

if TYPE_CHECKING:
    from ocr.evaluation import DetectorScore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredFile:
    """A file's score, and what it stands on.

    `without`: images that it has nothing for; `unknown`: its names that mean no sample; `quarantined`: how
    many samples the store leaves out. `folder` is the run's.
    """

    score: DetectorScore
    without: list[str]
    unknown: list[str]
    quarantined: int
    folder: Path

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json` and for the run's summary."""
        told = {"without": self.without, "unknown": self.unknown, "quarantined": self.quarantined}
        return {**self.score.as_json(), **told}


def score_file(
    config: RunConfig,
    split: str,
    detections: Path,
    format: str = "auto",
    frame: Literal["upright", "raw"] = "upright",
) -> ScoredFile:
    """Score a file or folder of detections; its polygons lie in upright images, or in `raw` pixels as stored.

    Writes `summary.json` and the sheet of the worst images into a run's folder. Raises ConfigError where
    no name in the file means a sample of the split, AnnotationError where it cannot be understood.
    """
    source = config.data.splits[split]
    images = config.data.root / source.images
    ids = image_ids(config.data.root / source.annotations, images)
    regions = read_results(detections, images, format, ids)
    store = checked_store(config, split)
    meaning, unknown = match_names(regions, store.sample_ids)
    if not meaning:
        raise ConfigError(
            f"{detections} names no image of split {split}: it has {shortened(unknown) or 'none'}, and the "
            f"split {shortened(store.sample_ids)}; is it another split's?"
        )
    found: dict[str, list[Points]] = {}
    for name, sample_id in meaning.items():
        found.setdefault(sample_id, []).extend(regions[name])
    if frame == "raw":
        found = _upright(
            found, open_store(config.workspace(split).generations(config.stages.canonicalize).path)
        )
    without = [sample_id for sample_id in store.sample_ids if sample_id not in found]
    if without:
        log.warning("%d images have no detections and count as empty: %s", len(without), shortened(without))
    if unknown:
        log.warning("%d names mean no image of the store: %s", len(unknown), shortened(unknown))
    from ocr.datasets import TensorDataset  # here, because mistakes are told without torch
    from ocr.evaluation import draw_worst, labelled_images, score_regions

    score = score_regions(labelled_images(store), found, detections.name)
    with run_folder(config, "score") as run:
        draw_worst(score.worst, TensorDataset(store.name)).save(run.folder / "worst.png")
        scored = ScoredFile(score, without, unknown, store.info.counts.quarantined, run.folder)
        run.summary |= {"detections": str(detections), "split": split, "score": scored.as_json()}
        run.summary |= {"store": {"path": str(store.name), "digest": store.digest}, "folder": str(run.folder)}
    return scored


def _upright(found: dict[str, list[Points]], canonical: Store) -> dict[str, list[Points]]:
    """Bring polygons from the images as they are stored into the upright frame."""
    sizes, orientations = canonical.small("size"), np.asarray(canonical.small("orientation"))
    turned: dict[str, list[Points]] = {}
    for sample_id, polygons in found.items():
        row = canonical.rows[sample_id]
        orientation = int(orientations[row])
        height, width = (int(side) for side in sizes[row])
        matrix = upright_matrix(upright_size((height, width), orientation), orientation)
        turned[sample_id] = [transform_points(matrix, polygon) for polygon in polygons]
    return turned
