"""What an epoch's probability maps are worth: boxes and metrics, worked on beside the device."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from torch import Tensor

from ocr.laps import Laps
from ocr.metrics import CLEval, IouHmean
from ocr.metrics.cleval import CLEvalCounts
from ocr.metrics.iou import IouCounts
from ocr.overlap import Evaluation, Overlap, OverlapParams, evaluate
from ocr.postprocess import BoxDecoder, Detections, as_float32


@dataclass(frozen=True)
class ScoredSample:
    """One image's detections, and their IoU H-mean by the convention for single images."""

    hmean: float
    sample_id: str
    detections: Detections


class Scoring:
    """Decodes and counts samples in a pool, and adds them up in the order in which they came.

    `iou` and `cleval` are where counts are added, on whatever device they lie. `worst` holds the
    `most_worst` samples of the epoch with the least H-mean, the worst first; ties go by name.
    """

    def __init__(
        self,
        decoder: BoxDecoder,
        iou: IouHmean,
        cleval: CLEval,
        params: OverlapParams,
        laps: Laps,
        most_worst: int = 16,
    ) -> None:
        self.iou, self.cleval, self.params, self.laps = iou, cleval, params, laps
        self.most_worst = most_worst
        self.worst: list[ScoredSample] = []
        # Counting needs no state, so workers get metrics of their own, which never lie on a device.
        self._work = partial(evaluate, decoder, (IouHmean(), CLEval()))
        self._overlap: Overlap[Evaluation] | None = None
        self._names: deque[str] = deque()

    def prepare(self) -> None:
        """Load what is compiled, so that the first epoch does not wait for it."""
        maps = np.zeros((32, 32), dtype=np.float32)
        maps[8:24, 8:24] = 1
        corners = np.array([[8, 8], [24, 8], [24, 24], [8, 24]], dtype=np.float32)
        self._work(maps, np.eye(3), (32, 32), [corners], ["text"])

    def begin(self) -> None:
        """Begin an epoch; what an interrupted one left is dropped."""
        self.close()
        self.iou.reset()
        self.cleval.reset()
        self.worst = []
        self._overlap = Overlap(self._work, self.params)

    def submit(self, prob_maps: Tensor, batch: Mapping[str, Any]) -> None:
        """Hand over a batch's maps (B, 1, H, W), and add what is done by now.

        Reads `inverse_matrix`, `size`, `polygons`, `ignore`, `sample_id`, and `text` where it is there.
        Raises PipelineError that names the sample where one fails.
        """
        assert self._overlap is not None
        maps = as_float32(prob_maps)
        self.laps.lap("transfer")
        matrices, sizes = batch["inverse_matrix"].numpy(), batch["size"].numpy()
        texts = batch.get("text")
        for i, sample_id in enumerate(batch["sample_id"]):
            self._names.append(sample_id)
            self._overlap.submit(
                sample_id,
                maps[i, 0],
                matrices[i],
                sizes[i],
                batch["polygons"][i],
                None if texts is None else texts[i],
                batch["ignore"][i],
            )
        self._add(self._overlap.finished())
        self.laps.lap("overlap")

    def end(self) -> None:
        """Wait for the rest of the epoch's samples and add them."""
        assert self._overlap is not None
        self._add(self._overlap.drain())
        self.close()
        self.laps.lap("overlap")

    def close(self) -> None:
        """Drop what is under way."""
        self._names.clear()
        if self._overlap is not None:
            self._overlap.close()
            self._overlap = None

    def _add(self, evaluations: Iterable[Evaluation]) -> None:
        done = list(evaluations)
        if not done:
            return
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
