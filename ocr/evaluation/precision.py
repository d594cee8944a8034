"""Precisions of the forward pass: choosing one, and measuring what it costs the metric."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ocr.detection import Detections, as_float32, decode_batch
from ocr.metrics import CLEval, IouHmean
from ocr.params import Precision
from ocr.training import DetectorModule, computing_in

UNCHANGED = 0.9
"""A box has not changed where one of the other precision covers it with more than this IoU."""
MOST_CHANGED = 0.1
"""The share of boxes that may change: a metric that stays the same by luck is no proof."""


@dataclass(frozen=True)
class Measured:
    """What a precision makes of a set, beside the first one that was measured, the reference.

    `iou` and `cleval`: what the metrics' `compute` gives. `largest_difference`: of probabilities, over
    all pixels. `boxes_changed`: boxes of either precision without a counterpart in the other.
    `seconds`: the forward pass over the set. `failed`: where it gave NaN or infinity, in a sentence;
    the figures are then those of the batches before.
    """

    precision: Precision
    samples: int
    iou: dict[str, float]
    cleval: dict[str, float]
    largest_difference: float
    boxes: int
    boxes_changed: int
    seconds: float
    failed: str | None = None

    def moved(self, reference: Measured) -> float:
        """How far H-mean or CLEval's lies from the reference's, whichever is further; NaN if one failed."""
        if self.failed or reference.failed:
            return math.nan
        pairs = ((self.iou, reference.iou), (self.cleval, reference.cleval))
        return max(abs(mine["hmean"] - theirs["hmean"]) for mine, theirs in pairs)

    def objection(self, reference: Measured, tolerance: float) -> str | None:
        """Say why this precision may not stand in for the reference; None where it may."""
        if self.failed or reference.failed:
            return self.failed or f"there is nothing to compare with: {reference.failed}"
        if not self.iou["hmean"]:
            return "the detector finds nothing (H-mean 0), which says nothing of a precision"
        if (moved := self.moved(reference)) > tolerance:
            return f"the metric moves by {moved:.4f}, more than {tolerance:g}"
        share = self.boxes_changed / max(1, self.boxes + reference.boxes)
        return (
            f"{share:.0%} of the boxes change, more than {MOST_CHANGED:.0%}" if share > MOST_CHANGED else None
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        rates = ("hmean", "precision", "recall")
        return {
            **{name: self.iou[name] for name in rates},
            "cleval": {name: self.cleval[name] for name in rates},
            "largest_difference": self.largest_difference,
            "boxes": self.boxes,
            "boxes_changed": self.boxes_changed,
            "seconds": self.seconds,
            "samples": self.samples,
            "failed": self.failed,
        }


def compare_precisions(
    module: DetectorModule, batches: Iterable[Mapping[str, Any]], precisions: Sequence[Precision]
) -> list[Measured]:
    """Measure one detector in several precisions, batch by batch in turns; the first is the reference.

    Images are normalised in float32 for all of them. Every precision sees the first batch once
    before it is timed. One that gives NaN or infinity ends there; the others go on.
    float32 is meant: by torch's default, a GPU computes its convolutions in TF32, of 10 bits like float16.
    """
    runs = [_Run(precision) for precision in precisions]
    module.eval()
    cudnn = torch.backends.cudnn
    float32 = cudnn.flags(True, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)
    with torch.inference_mode(), float32:
        for number, batch in enumerate(batches):
            images = module.prepared(batch["images"].to(module.device))
            for run in runs if number == 0 else ():
                run.forward(module, images)
            reference: tuple[Tensor, list[Detections]] | None = None
            for run in runs:
                if run.failed:
                    continue
                found = run.add(module, images, batch, reference)
                if run is runs[0]:
                    reference = found
    return [run.measured() for run in runs]


class _Run:
    """One precision on its way through a set."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.iou, self.cleval, self.same = IouHmean(), CLEval(), IouHmean(iou_threshold=UNCHANGED)
        self.largest, self.boxes, self.changed, self.seconds = 0.0, 0, 0, 0.0
        self.failed: str | None = None
        for metric in (self.iou, self.cleval):
            metric.add()  # nothing yet; it may stay so

    def forward(self, module: DetectorModule, images: Tensor) -> tuple[Tensor, float]:
        """Maps, float32 (B, C, H, W), and the seconds that they took."""
        began = _now(images.device)
        with computing_in(self.precision, images.device.type):
            output = module(images)
        maps: Tensor = output.maps()
        return maps, _now(images.device) - began

    def add(
        self,
        module: DetectorModule,
        images: Tensor,
        batch: Mapping[str, Any],
        reference: tuple[Tensor, list[Detections]] | None,
    ) -> tuple[Tensor, list[Detections]] | None:
        """Add a batch; gives its maps and its detections, or None where a map holds NaN or infinity."""
        maps, seconds = self.forward(module, images)
        finite = maps.isfinite().flatten(1).all(dim=1).tolist()
        if not all(finite):
            index = finite.index(False)
            layer = self._first_not_finite(module, images[index : index + 1])
            sample_id = batch["sample_id"][index]
            self.failed = f"{self.precision} gives NaN or infinity in sample {sample_id}, first in {layer}"
            return None
        self.seconds += seconds
        detections = decode_batch(module.decoder, as_float32(maps), batch["inverse_matrix"], batch["size"])
        polygons = [found.polygons for found in detections]
        self.iou.update(polygons, batch["polygons"], ignore=batch["ignore"])
        self.cleval.update(polygons, batch["polygons"], texts=batch.get("text"), ignore=batch["ignore"])
        self.boxes += sum(map(len, polygons))
        if reference is not None:
            self.largest = max(self.largest, float((maps - reference[0]).abs().max()))
            for found, expected in zip(polygons, reference[1], strict=True):
                pairs = self.same.match(found, expected.polygons).pairs
                self.changed += len(found) + len(expected.polygons) - 2 * len(pairs)
        return maps, detections

    def _first_not_finite(self, module: DetectorModule, image: Tensor) -> str:
        """Name the first layer that gives NaN or infinity for one image (1, 3, H, W)."""
        found: list[str] = []

        def look(name: str, _: Any, __: Any, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not output.isfinite().all():
                found.append(f"layer {name}")

        layers = [(name, layer) for name, layer in module.model.named_modules() if not [*layer.children()]]
        hooks = [layer.register_forward_hook(partial(look, name)) for name, layer in layers]
        try:
            self.forward(module, image)
        finally:
            for hook in hooks:
                hook.remove()
        return found[0] if found else "its output"

    def measured(self) -> Measured:
        """Give what was counted so far."""
        iou = self.iou.compute()
        return Measured(
            self.precision,
            int(iou["images"]),
            iou,
            self.cleval.compute(),
            self.largest,
            self.boxes,
            self.changed,
            self.seconds,
            self.failed,
        )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
