"""What a detector's output is worth over an epoch: losses, boxes and metrics, worked on beside the device."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ocr.detection import BoxDecoder, BoxParams, Detections, as_float32
from ocr.metrics import CLEval, CLEvalCounts, IouCounts, IouHmean
from ocr.model import DetectorOutput
from ocr.training.losses import Losses, LossParams, detector_loss
from ocr.training.mean_losses import MeanLosses
from ocr.training.ordered_pool import OrderedPool, OverlapParams
from ocr.training.stopwatch import Stopwatch

_ADDED_AT_ONCE = 256
"""Samples that are added up together: an addition is some calls into torch, and each of those gives Python's
lock to the pool and waits to have it back."""
_TARGETS = ("prob_maps", "prob_masks", "thresh_maps", "thresh_masks")


@dataclass(frozen=True)
class ScoredSample:
    """One image's detections, and their IoU H-mean by the convention for single images."""

    hmean: float
    sample_id: str
    detections: Detections


@dataclass(frozen=True)
class MeasuredLoss:
    """A batch's losses, the number of its samples, and the CPU seconds that computing them took."""

    losses: Losses
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


class Scoring:
    """Computes losses, decodes and counts in a pool, and adds up in the order in which samples came.

    `losses`, `iou` and `cleval` are where that is added, on whatever device they lie; `stopwatch` tells where
    the time went. `worst` holds the `most_worst` samples of the epoch with the least H-mean, the worst
    first; ties go by name.
    """

    def __init__(
        self, loss: LossParams, boxes: BoxParams, overlap: OverlapParams, most_worst: int = 16
    ) -> None:
        self.loss, self.decoder, self.params, self.most_worst = loss, BoxDecoder(boxes), overlap, most_worst
        self.losses, self.iou, self.cleval = MeanLosses(), IouHmean(), CLEval()
        self.stopwatch = Stopwatch()
        self.worst: list[ScoredSample] = []
        # Counting needs no state, so the pool gets metrics of its own, which never lie on a device.
        self._counting = IouHmean(), CLEval()
        self._pool: OrderedPool[MeasuredLoss | Evaluation] | None = None
        self._on_host = True
        self._kept: Callable[[], None] | None = None
        self._measured: deque[MeasuredLoss] = deque()
        self._evaluated: deque[Evaluation] = deque()

    def prepare(self) -> None:
        """Load what is compiled, so that the first epoch does not wait for it."""
        prob_map = np.zeros((32, 32), np.float32)
        prob_map[8:24, 8:24] = 1
        corners = np.array([[8, 8], [24, 8], [24, 24], [8, 24]], dtype=np.float32)
        self.evaluate("", prob_map, np.eye(3), (32, 32), [corners], ["text"])

    def begin(self, device: torch.device) -> None:
        """Begin an epoch of outputs on `device`; what an interrupted one left is dropped."""
        self.close()
        for metric in (self.losses, self.iou, self.cleval):
            metric.reset()
        self.worst = []
        self._on_host = device.type == "cpu"
        self._pool = OrderedPool(self.params)

    def keep(self, output: DetectorOutput, batch: Mapping[str, Any]) -> None:
        """Keep a batch's logits (B, 1, H, W) until they are handed over.

        Reads the four maps, `inverse_matrix`, `size`, `polygons`, `ignore`, `sample_id`, and `text` where
        it is there. A GPU computes losses at once, where the maps lie.
        """
        targets = {name: batch[name] for name in _TARGETS}
        if not self._on_host:
            self._measured.append(self.measure(output, targets))
            self.stopwatch.lap("loss")
        maps = as_float32(output.prob_logits.sigmoid())
        self._kept = partial(self._submit, output, maps, targets, batch)
        self.stopwatch.lap("transfer")

    def hand_over(self) -> None:
        """Give the pool what was kept, and collect what is done by now; the device should be busy next.

        A pool that works while the caller fetches a batch holds Python's lock whenever the caller wants
        it. Raises PipelineError that names the sample where one fails.
        """
        if self._kept is None:
            return
        assert self._pool is not None
        submit, self._kept = self._kept, None
        submit()
        self._collect(self._pool.finished(), _ADDED_AT_ONCE)
        self.stopwatch.lap("overlap")

    def end(self) -> None:
        """Wait for the rest of the epoch and add it."""
        self.hand_over()
        assert self._pool is not None
        self._collect(self._pool.drain(), 1)
        self._add()
        self.close()
        self.stopwatch.lap("overlap")

    def close(self) -> None:
        """Drop what is under way."""
        self._kept = None
        self._measured.clear()
        self._evaluated.clear()
        if self._pool is not None:
            self._pool.close()
        self._pool = None

    def measure(self, output: DetectorOutput, targets: Mapping[str, Any]) -> MeasuredLoss:
        """Compute a batch's losses, touching no state."""
        began = time.thread_time()
        losses = detector_loss(output, targets, self.loss)
        return MeasuredLoss(losses, len(output.prob_logits), time.thread_time() - began)

    def evaluate(
        self,
        sample_id: str,
        prob_map: NDArray[np.float32],
        inverse_matrix: ArrayLike,
        size: ArrayLike,
        targets: Any,
        texts: Any = None,
        ignore: ArrayLike | None = None,
    ) -> Evaluation:
        """Decode one map (H, W) and count, touching no state."""
        began = time.thread_time()
        found = self.decoder.decode_one(prob_map, inverse_matrix, size)
        decoded = time.thread_time()
        iou, cleval = (
            metric.measure(found.polygons, targets, texts=texts, ignore=ignore) for metric in self._counting
        )
        seconds = decoded - began, time.thread_time() - decoded
        return Evaluation(sample_id, found, cast(IouCounts, iou), cast(CLEvalCounts, cleval), *seconds)

    def _submit(
        self, output: DetectorOutput, maps: Any, targets: Mapping[str, Any], batch: Mapping[str, Any]
    ) -> None:
        assert self._pool is not None
        names, texts = batch["sample_id"], batch.get("text") or [None] * len(maps)
        if self._on_host:
            self._pool.submit(", ".join(names), self.measure, output, targets)
        places = zip(batch["inverse_matrix"].numpy(), batch["size"].numpy(), strict=True)
        truth = zip(batch["polygons"], texts, batch["ignore"], strict=True)
        for name, prob_map, place, true in zip(names, maps[:, 0], places, truth, strict=True):
            self._pool.submit(name, self.evaluate, name, prob_map, *place, *true)

    def _collect(self, results: Iterable[MeasuredLoss | Evaluation], at_once: int) -> None:
        for found in results:
            if isinstance(found, MeasuredLoss):
                self._measured.append(found)
            else:
                self._evaluated.append(found)
        while len(self._evaluated) >= at_once:
            self._add()

    def _add(self) -> None:
        """Add all losses and the next samples: always as many, whenever they came, so that sums agree."""
        while self._measured:
            measured = self._measured.popleft()
            self.losses.update(measured.losses, measured.samples)
            self.stopwatch.work["loss"] += measured.seconds
        if not self._evaluated:
            return
        done = [self._evaluated.popleft() for _ in range(min(_ADDED_AT_ONCE, len(self._evaluated)))]
        self.iou.add(*(sample.iou for sample in done))
        self.cleval.add(*(sample.cleval for sample in done))
        self.stopwatch.work["boxes"] += sum(sample.boxes_s for sample in done)
        self.stopwatch.work["metric"] += sum(sample.metric_s for sample in done)
        scored = [
            ScoredSample(sample.iou.image_rates().hmean, sample.sample_id, sample.detections)
            for sample in done
        ]
        self.worst = heapq.nsmallest(
            self.most_worst, [*self.worst, *scored], key=lambda sample: (sample.hmean, sample.sample_id)
        )
