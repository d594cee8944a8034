"""What a detector's output is worth over an epoch: losses, boxes and metrics, worked on beside the device."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from ocr.datasets.batches import BufferPool
from ocr.detection import Detections, as_float32, decoded
from ocr.detectors import DetectorOutput
from ocr.params import OverlapParams
from ocr.training.judges import Evaluation, Judges, MeasuredLoss
from ocr.training.ordered_pool import OrderedPool
from ocr.training.stopwatch import Stopwatch

log = logging.getLogger(__name__)

_ADDED_AT_ONCE = 256
"""Samples that are added up together: an addition is some calls into torch, and each of those gives Python's
lock to the pool and waits to have it back."""

Find = Callable[[], Detections]
"""Gives one sample's detections, in the pool."""


@dataclass(frozen=True)
class ScoredSample:
    """One image's detections, and their IoU H-mean by the convention for single images."""

    hmean: float
    sample_id: str
    detections: Detections


class Scoring:
    """Computes losses, finds regions and counts in a pool, and adds up in the order in which samples came.

    `stopwatch` tells where the time went. `worst` holds the `most_worst` samples of the epoch with the
    least H-mean, the worst first; ties go by name. `each` gets the evaluation of every sample, in order.
    """

    def __init__(
        self,
        overlap: OverlapParams,
        most_worst: int = 16,
        each: Callable[[Evaluation], None] = lambda evaluation: None,
    ) -> None:
        self.params, self.most_worst, self.each = overlap, most_worst, each
        self.stopwatch = Stopwatch()
        self.worst: list[ScoredSample] = []
        self._judges: Judges
        self._pool: OrderedPool[MeasuredLoss | Evaluation] | None = None
        self._on_host = True
        self._buffers = BufferPool(pin=True)
        self._kept: Callable[[], None] | None = None
        self._measured: deque[MeasuredLoss] = deque()
        self._evaluated: deque[Evaluation] = deque()
        self._crossing = 0

    def prepare(self, judges: Judges) -> None:
        """Load what metrics compile, so that the first epoch does not wait for it."""
        corners = np.array([[8, 8], [24, 8], [24, 24], [8, 24]], dtype=np.float32)
        found = Detections([corners], np.ones(1, np.float32))
        judges.judge("", lambda: found, [corners], ["text"])

    def begin(self, device: torch.device, judges: Judges) -> None:
        """Begin an epoch of outputs on `device`; what an interrupted one left is dropped."""
        self.close()
        judges.reset()
        self.worst, self._judges, self._crossing = [], judges, 0
        self._on_host = device.type == "cpu"
        self._pool = OrderedPool(self.params, judges.detector)

    def keep(self, output: DetectorOutput, batch: Mapping[str, Any]) -> None:
        """Keep a batch's logits until they are handed over; a GPU computes losses at once, where maps lie."""
        measure = partial(self._judges.measure, output, batch)
        if not self._on_host:
            self._measured.append(measure())
            self.stopwatch.lap("loss")
        self.keep_maps(output.maps(), batch, measure if self._on_host else None)

    def keep_maps(
        self,
        maps: torch.Tensor | NDArray[Any],
        batch: Mapping[str, Any],
        measure: Callable[[], MeasuredLoss] | None = None,
    ) -> None:
        """Keep a batch's maps, (B, C, H, W) in 0…1, until they are handed over, to be decoded then.

        Reads `inverse_matrix` and `size` of the batch beside what `keep_found` does.
        """
        places = zip(np.asarray(batch["inverse_matrix"]), np.asarray(batch["size"]), strict=True)
        decoder, host = self._judges.decoder, self._brought_to_host(maps)
        finds = [partial(decoded, decoder, one, *place) for one, place in zip(host, places, strict=True)]
        self.keep_found(finds, batch, measure)

    def keep_found(
        self,
        finds: Sequence[Find],
        batch: Mapping[str, Any],
        measure: Callable[[], MeasuredLoss] | None = None,
    ) -> None:
        """Keep what finds each sample's regions, and what measures the batch's loss, for the pool.

        Reads `polygons`, `ignore`, `sample_id`, and `text` where it is there.
        """
        self._kept = partial(self._submit, finds, batch, measure)
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

    def _brought_to_host(self, maps: torch.Tensor | NDArray[Any]) -> NDArray[np.float32]:
        """Bring maps to the host as float32; a GPU's into page-locked memory, which needs no staging."""
        if not (isinstance(maps, torch.Tensor) and maps.is_cuda):
            return as_float32(maps)
        return self._buffers.take(tuple(maps.shape), torch.float32).copy_(maps.detach()).numpy()

    def _submit(
        self, finds: Sequence[Find], batch: Mapping[str, Any], measure: Callable[[], MeasuredLoss] | None
    ) -> None:
        assert self._pool is not None
        names, texts = batch["sample_id"], batch.get("text") or [None] * len(finds)
        if measure is not None:
            self._pool.submit(", ".join(names), measure)
        truth = zip(batch["polygons"], texts, batch["ignore"], strict=True)
        for name, find, true in zip(names, finds, truth, strict=True):
            self._pool.submit(name, self._judges.judge, name, find, *true)

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
        judges = self._judges
        while self._measured:
            measured = self._measured.popleft()
            assert judges.losses is not None
            judges.losses.update(measured.losses, measured.samples)
            self.stopwatch.work["loss"] += measured.seconds
        if not self._evaluated:
            return
        done = [self._evaluated.popleft() for _ in range(min(_ADDED_AT_ONCE, len(self._evaluated)))]
        judges.iou.add(*(sample.iou for sample in done))
        judges.cleval.add(*(sample.cleval for sample in done))
        self.stopwatch.work["boxes"] += sum(sample.boxes_s for sample in done)
        self.stopwatch.work["metric"] += sum(sample.metric_s for sample in done)
        for sample in done:
            self._tell_crossing(sample)
            self.each(sample)
        scored = [
            ScoredSample(sample.iou.image_rates().hmean, sample.sample_id, sample.detections)
            for sample in done
        ]
        self.worst = heapq.nsmallest(
            self.most_worst, [*self.worst, *scored], key=lambda sample: (sample.hmean, sample.sample_id)
        )

    def _tell_crossing(self, sample: Evaluation) -> None:
        """Tell once an epoch of regions that the protocol counts for nothing; a decoder should give none."""
        invalid = getattr(sample.iou, "invalid_predictions", 0)
        if invalid and not self._crossing:
            log.warning(
                "detector %s, sample %s: %d of its %d regions cross themselves or have no area, "
                "so they count for nothing in IoU H-mean (invalid_predictions)",
                self._judges.detector,
                sample.sample_id,
                invalid,
                len(sample.detections.polygons),
            )
        self._crossing += invalid


class EndPool(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Ends the pool of an epoch that fails."""

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Drop what is under way."""
        if isinstance(getattr(pl_module, "scoring", None), Scoring):
            pl_module.scoring.close()
