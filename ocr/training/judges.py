"""What makes numbers of a detector's output: its decoder, the metrics, and while it learns its loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor

from ocr.detection import Decoder, Detections
from ocr.detectors import DetectorOutput, Loss
from ocr.metrics import CLEvalCounts, ImageMetric, IouCounts
from ocr.training.mean_losses import MeanLosses
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class MeasuredLoss:
    """A batch's losses, the number of its samples, and the CPU seconds that computing them took."""

    losses: Mapping[str, Tensor]
    samples: int
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """One sample's detections, what each metric counts for them, and the CPU seconds that both took."""

    sample_id: str
    detections: Detections
    iou: IouCounts
    cleval: CLEvalCounts
    boxes_s: float
    metric_s: float


@dataclass(frozen=True)
class Judges:
    """What an epoch's outputs are judged by; `detector` is the name that errors tell.

    The metrics add up, on whatever device they lie. `loss` and its means `losses` are None where nothing is
    compared with ground-truth maps. Raises ConfigError for a metric or a decoder that is none.
    """

    detector: str
    decoder: Decoder
    iou: ImageMetric[IouCounts]
    cleval: ImageMetric[CLEvalCounts]
    loss: Loss | None = None
    losses: MeanLosses | None = None

    def __post_init__(self) -> None:
        for name, metric in (("metric", self.iou), ("cleval", self.cleval)):
            if not isinstance(metric, ImageMetric):
                raise ConfigError(
                    f"{name} is {type(metric).__name__}, which cannot count image by image: "
                    "give an ocr.metrics.ImageMetric, such as IouHmean(iou_threshold=0.7)"
                )
        if not hasattr(self.decoder, "decode_one"):
            given = type(self.decoder).__name__
            raise ConfigError(f"decoder is {given}, which has no decode_one(maps, inverse_matrix, size)")

    def reset(self) -> None:
        """Forget what was added up."""
        for metric in (self.iou, self.cleval, self.losses):
            if metric is not None:
                metric.reset()

    def judge(
        self,
        sample_id: str,
        find: Callable[[], Detections],
        targets: Any,
        texts: Any = None,
        ignore: ArrayLike | None = None,
    ) -> Evaluation:
        """Find one sample's regions and count them, touching no state."""
        began = time.thread_time()
        detections = find()
        found = time.thread_time()
        iou = self.iou.measure(detections.polygons, targets, texts=texts, ignore=ignore)
        cleval = self.cleval.measure(detections.polygons, targets, texts=texts, ignore=ignore)
        return Evaluation(sample_id, detections, iou, cleval, found - began, time.thread_time() - found)

    def measure(self, output: DetectorOutput, batch: Mapping[str, Any]) -> MeasuredLoss:
        """Compute a batch's losses, touching no state."""
        assert self.loss is not None
        began = time.thread_time()
        losses = self.loss(output, batch)
        return MeasuredLoss(losses, len(output.prob_logits), time.thread_time() - began)
