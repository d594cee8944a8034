"""What a detector's output is worth over an epoch: losses, boxes and metrics, worked on beside the device."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from ocr.laps import Laps
from ocr.losses import Losses, LossParams, detector_loss
from ocr.map_regions import probability_map
from ocr.metrics import CLEval, IouHmean
from ocr.metrics.cleval import CLEvalCounts
from ocr.metrics.iou import IouCounts
from ocr.metrics.mean_losses import MeanLosses
from ocr.model import DetectorOutput
from ocr.overlap import Evaluation, Overlap, OverlapParams, evaluate
from ocr.postprocess import BoxDecoder, Detections, Floats, as_float32

_ADDED_AT_ONCE = 256
"""Samples that are added up together: an addition is some calls into torch, and each of those gives Python's
lock to the pool and waits to have it back."""


@dataclass(frozen=True)
class ScoredSample:
    """One image's detections, and their IoU H-mean by the convention for single images."""

    hmean: float
    sample_id: str
    detections: Detections


class MeasuredLoss(NamedTuple):
    """A batch's losses, the number of its samples, and the CPU seconds that computing them took."""

    losses: Losses
    samples: int
    seconds: float


def measure_loss(params: LossParams, output: DetectorOutput, batch: Mapping[str, Any]) -> MeasuredLoss:
    """Compute a batch's losses, touching no state."""
    began = time.thread_time()
    losses = detector_loss(output, batch, params)
    return MeasuredLoss(losses, len(output.prob_logits), time.thread_time() - began)


class Scoring:
    """Computes losses, decodes and counts in a pool, and adds up in the order in which samples came.

    `losses`, `iou` and `cleval` are where that is added, on whatever device they lie. `worst` holds the
    `most_worst` samples of the epoch with the least H-mean, the worst first; ties go by name.
    """

    def __init__(
        self,
        loss: LossParams,
        decoder: BoxDecoder,
        losses: MeanLosses,
        iou: IouHmean,
        cleval: CLEval,
        params: OverlapParams,
        laps: Laps,
        most_worst: int = 16,
    ) -> None:
        self.losses, self.iou, self.cleval = losses, iou, cleval
        self.params, self.laps, self.most_worst = params, laps, most_worst
        self.worst: list[ScoredSample] = []
        self._measure = partial(measure_loss, loss)
        # Counting needs no state, so workers get metrics of their own, which never lie on a device.
        self._evaluate = partial(evaluate, decoder, (IouHmean(), CLEval()))
        self._batches: Overlap[MeasuredLoss] | None = None
        self._samples: Overlap[Evaluation] | None = None
        self._on_host = True
        self._kept: tuple[DetectorOutput, Floats, Mapping[str, Any]] | None = None
        self._names: deque[str] = deque()
        self._measured: list[MeasuredLoss] = []
        self._evaluated: list[Evaluation] = []

    def prepare(self) -> None:
        """Load what is compiled, so that the first epoch does not wait for it."""
        maps = torch.zeros(1, 1, 32, 32)
        maps[..., 8:24, 8:24] = 1
        names = ("prob_maps", "prob_masks", "thresh_maps", "thresh_masks")
        self._measure(DetectorOutput(maps, maps), dict.fromkeys(names, maps.to(torch.uint8)))
        corners = np.array([[8, 8], [24, 8], [24, 24], [8, 24]], dtype=np.float32)
        self._evaluate(
            maps[0, 0].numpy(), np.eye(3), (32, 32), [corners], ["text"], activation=probability_map
        )

    def begin(self, device: torch.device) -> None:
        """Begin an epoch of outputs on `device`; what an interrupted one left is dropped."""
        self.close()
        for metric in (self.losses, self.iou, self.cleval):
            metric.reset()
        self.worst = []
        # A GPU computes losses and sigmoids where the maps lie. Few batches are held, because they are large.
        self._on_host = device.type == "cpu"
        workers = min(1, self.params.workers) if self._on_host else 0
        self._batches = Overlap(self._measure, OverlapParams(workers=workers, most_pending=2))
        activation = probability_map if self._on_host else None
        self._samples = Overlap(partial(self._evaluate, activation=activation), self.params)

    def keep(self, output: DetectorOutput, batch: Mapping[str, Any]) -> None:
        """Keep a batch's logits (B, 1, H, W) until they are handed over.

        Reads the four maps, `inverse_matrix`, `size`, `polygons`, `ignore`, `sample_id`, and `text` where
        it is there.
        """
        maps = output.prob_logits if self._on_host else output.prob_logits.sigmoid()
        self._kept = output, as_float32(maps), batch
        self.laps.lap("transfer")

    def hand_over(self) -> None:
        """Give the pool what was kept, and collect what is done by now; the device should be busy next.

        A pool that works while the caller fetches a batch holds Python's lock whenever the caller wants
        it. Raises PipelineError that names the sample where one fails.
        """
        if self._kept is None:
            return
        assert self._batches is not None and self._samples is not None
        (output, maps, batch), self._kept = self._kept, None
        self._batches.submit(", ".join(batch["sample_id"]), output, batch)
        self._measured += self._batches.finished()
        self.laps.lap("loss")
        matrices, sizes = batch["inverse_matrix"].numpy(), batch["size"].numpy()
        texts = batch.get("text")
        for i, sample_id in enumerate(batch["sample_id"]):
            self._names.append(sample_id)
            self._samples.submit(
                sample_id,
                maps[i, 0],
                matrices[i],
                sizes[i],
                batch["polygons"][i],
                None if texts is None else texts[i],
                batch["ignore"][i],
            )
        self._evaluated += self._samples.finished()
        while len(self._evaluated) >= _ADDED_AT_ONCE:
            self._add_losses()
            self._add()
        self.laps.lap("overlap")

    def end(self) -> None:
        """Wait for the rest of the epoch and add it."""
        self.hand_over()
        assert self._batches is not None and self._samples is not None
        self._measured += self._batches.drain()
        self._add_losses()
        self.laps.lap("loss")
        self._evaluated += self._samples.drain()
        while self._evaluated:
            self._add()
        self.close()
        self.laps.lap("overlap")

    def close(self) -> None:
        """Drop what is under way."""
        self._kept = None
        for results in (self._names, self._measured, self._evaluated):
            results.clear()
        for overlap in (self._batches, self._samples):
            if overlap is not None:
                overlap.close()
        self._batches = self._samples = None

    def _add_losses(self) -> None:
        for losses, samples, seconds in self._measured:
            self.losses.update(losses, samples)
            self.laps.work["loss"] += seconds
        self._measured.clear()

    def _add(self) -> None:
        """Add the next samples, always as many, so that sums do not depend on when results came."""
        done, self._evaluated = self._evaluated[:_ADDED_AT_ONCE], self._evaluated[_ADDED_AT_ONCE:]
        iou = [cast(IouCounts, evaluation.counts[0]) for evaluation in done]
        self.iou.add(*iou)
        self.cleval.add(*(cast(CLEvalCounts, evaluation.counts[1]) for evaluation in done))
        for evaluation in done:
            self.laps.work["boxes"] += evaluation.boxes_s
            self.laps.work["metric"] += evaluation.metric_s
        scored = [
            ScoredSample(counts.image_rates().hmean, self._names.popleft(), evaluation.detections)
            for counts, evaluation in zip(iou, done, strict=True)
        ]
        self.worst = heapq.nsmallest(
            self.most_worst, [*self.worst, *scored], key=lambda sample: (sample.hmean, sample.sample_id)
        )
