"""Judging anything that finds text by the same numbers: a network, a runtime, a file of detections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ocr.datasets import OnlineDataset, TensorDataset
from ocr.datasets.batches import Batch
from ocr.detection import BoxDecoder, Decoder, Detections, as_detections
from ocr.detectors import DetectorOutput
from ocr.evaluation.ceiling import LabelledImage
from ocr.metrics import CLEval, IouHmean
from ocr.params import OverlapParams
from ocr.training import Evaluation, Judges, ScoredSample, Scoring, ran, time_parts
from pipeline.errors import ConfigError, PipelineError

READ_FIELDS = ("image", "inverse_matrix", "size", "polygons", "ignore", "text", "sample_id")
"""What a dataset that is opened here hands out."""
_READ = ("inverse_matrix", "size", "polygons", "ignore")

Found = torch.Tensor | np.ndarray[Any, Any] | DetectorOutput | Sequence[Detections | Sequence[ArrayLike]]
Predict = Callable[[Batch], Found]
"""From a batch to probability maps (B, 1, H, W) in 0…1, or to what is found in each of its images."""


@dataclass(frozen=True)
class ImageScore:
    """One image: `precision`, `recall` and `hmean` by each metric, and what was found in it."""

    sample_id: str
    iou: dict[str, float]
    cleval: dict[str, float]
    detections: Detections = field(repr=False)


@dataclass(frozen=True)
class DetectorScore:
    """What a detector is worth on a data set.

    `iou` and `cleval` are what `IouHmean` and `CLEval` compute: `precision`, `recall`, `hmean` and what they
    stand on. `images` come in the data set's order; `worst` are those of the least H-mean, for
    `draw_worst`. `profile` says in seconds where the time went, by the names of `EpochProfile`.
    """

    iou: dict[str, float]
    cleval: dict[str, float]
    images: list[ImageScore] = field(repr=False)
    worst: list[ScoredSample] = field(repr=False)
    profile: dict[str, float] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Plain values, without the detections."""
        images = [{"sample_id": one.sample_id, "iou": one.iou, "cleval": one.cleval} for one in self.images]
        return {"iou": self.iou, "cleval": self.cleval, "images": images, "profile": self.profile}


def evaluate_detector(
    dataset: TensorDataset | OnlineDataset | str | Path,
    predict: Predict,
    *,
    decoder: Decoder | None = None,
    overlap: OverlapParams | None = None,
    batch_size: int = 16,
    worst: int = 16,
) -> DetectorScore:
    """Score whatever `predict` finds over a data set, decoding and counting beside it.

    `dataset` is open, or a store's path. `predict` is given a batch as it is stored (`images`: uint8 RGB
    (B, 3, H, W) on the canvas) and gives, as torch or NumPy, probability maps (B, 1, H, W) for `decoder`
    (`BoxDecoder()`), or (B, C, H, W) for one that reads more; or, for each image, `Detections` or a list of
    polygons (P, 2) in the upright frame. `overlap`: threads that decode and count while `predict` works on
    the next batch, so what it gave may not be a buffer that it writes into again.

    Raises PipelineError that names the sample where `predict` raises or gives what is none of these.
    """
    if isinstance(dataset, str | Path):
        dataset = TensorDataset(dataset, READ_FIELDS)
        dataset.warm()
    name = getattr(predict, "__name__", type(predict).__name__)
    evaluations: list[Evaluation] = []
    judges = Judges(name, decoder or BoxDecoder(), IouHmean(), CLEval())
    scoring = Scoring(overlap or OverlapParams(), worst, evaluations.append)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scoring.prepare(judges)
    scoring.begin(device, judges)
    before = dataset.stats()
    scoring.stopwatch.start(device)
    try:
        with torch.no_grad():
            for batch in dataset.batches(batch_size):
                scoring.stopwatch.lap("fetch")
                if missing := [key for key in _READ if key not in batch]:
                    raise ConfigError(
                        f"the data set hands out no {', '.join(missing)}: open it with fields={READ_FIELDS}"
                    )
                scoring.hand_over()
                found = ran(name, predict, batch, batch["sample_id"])
                scoring.stopwatch.lap("forward")
                _keep(scoring, found, name, batch)
        scoring.end()
    finally:
        scoring.close()
    iou, cleval = judges.iou.compute(), judges.cleval.compute()
    scoring.stopwatch.lap("metric")
    wall, read = scoring.stopwatch.stop("other"), dataset.stats() - before
    profile = {
        "samples": len(evaluations),
        "wall_s": wall,
        **time_parts(scoring.stopwatch, read.wait_s),
        "samples_per_s": len(evaluations) / wall if wall else 0.0,
        "hits": read.hits,
        "misses": read.misses,
    }
    return DetectorScore(iou, cleval, image_scores(evaluations), scoring.worst, profile)


def score_regions(
    images: Iterable[LabelledImage], found: Mapping[str, Sequence[ArrayLike]], detector: str = "detections"
) -> DetectorScore:
    """Score polygons (P, 2), upright, that were found by whatever means; an image that is not in it has none.

    Raises PipelineError that names the image where a polygon is none.
    """
    evaluations: list[Evaluation] = []
    judges = Judges(detector, BoxDecoder(), IouHmean(), CLEval())
    scoring = Scoring(OverlapParams(workers=0), each=evaluations.append)
    scoring.begin(torch.device("cpu"), judges)
    for image in images:
        truth = {"polygons": [image.polygons], "ignore": [image.ignore], "text": [image.texts]}
        find = partial(as_detections, found.get(image.sample_id, ()))
        scoring.keep_found([find], {"sample_id": [image.sample_id], **truth})
        scoring.hand_over()
    scoring.end()
    return DetectorScore(
        judges.iou.compute(), judges.cleval.compute(), image_scores(evaluations), scoring.worst, {}
    )


def image_scores(evaluations: Iterable[Evaluation]) -> list[ImageScore]:
    """Give each image's rates, by the metrics' convention for single images."""
    return [
        ImageScore(
            one.sample_id,
            one.iou.image_rates()._asdict(),
            one.cleval.image_rates()._asdict(),
            one.detections,
        )
        for one in evaluations
    ]


def _keep(scoring: Scoring, found: Any, name: str, batch: Batch) -> None:
    """Keep what `predict` gave for a batch. Raises PipelineError where it is neither maps nor detections."""
    names = batch["sample_id"]
    if isinstance(found, torch.Tensor | np.ndarray | DetectorOutput):
        maps = found.maps() if isinstance(found, DetectorOutput) else found
        canvas = batch["images"].shape[2:] if "images" in batch else maps.shape[2:]
        if maps.ndim != 4 or len(maps) != len(names) or maps.shape[2:] != tuple(canvas):
            wanted = f"({len(names)}, 1, {', '.join(map(str, canvas))})"
            raise PipelineError(
                f"detector {name} gave maps of shape {tuple(maps.shape)} for {', '.join(names)}, not {wanted}"
            )
        scoring.keep_maps(maps, batch)
        return
    if not isinstance(found, Sequence) or len(found) != len(names):
        given = f"{len(found)} entries" if isinstance(found, Sequence) else f"a {type(found).__name__}"
        raise PipelineError(
            f"detector {name} gave {given} for the {len(names)} images {', '.join(names)}: give "
            "probability maps (B, 1, H, W), or for each image its detections"
        )
    scoring.keep_found([partial(as_detections, one) for one in found], batch)
