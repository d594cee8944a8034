"""The best that any detector could reach on a canvas: ground-truth maps through box decoding.

What is lost here is lost before training begins, to the canvas, the maps' parameters or the box
decoder's. It is told per text region, with the reason.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import Any

import numpy as np

from ocr.detection import BoxDecoder
from ocr.geometry import Padding, Points, Size, letterbox, transform_points
from ocr.maps import MapParams, PolygonFate, build_maps, shape_polygons
from ocr.metrics import CLEval, IouHmean, PackedPolygons, points_inside
from ocr.params import BoxParams
from ocr.preprocess import BYTES_PER_PIXEL
from pipeline.errors import PipelineError
from pipeline.store import Store


class MissReason(Enum):
    """Why a region cannot be found; in this order, the first that applies."""

    OUTSIDE = "outside the image"
    """No part of it lies on the canvas."""
    TOO_SMALL = "too small"
    """Below the maps' `min_text_size`: masked, so that nothing learns it."""
    VANISHED = "vanished"
    """Nothing is left of it once it has shrunk."""
    BELOW_MINIMUM = "below the box decoder's minimum"
    """Its kernel is in the map, and box decoding discards it: `min_size` or `box_threshold`."""
    MERGED = "merged"
    """It was found as one with another region."""
    MISSHAPEN = "misshapen"
    """It was found, with an IoU of 0.5 or less."""


@dataclass(frozen=True)
class LabelledImage:
    """One image's ground truth: upright `size`, polygons (P, 2) in that frame, a text and a flag each."""

    sample_id: str
    size: Size
    polygons: Sequence[Points]
    texts: Sequence[str]
    ignore: Sequence[bool]


@dataclass(frozen=True)
class Ceiling:
    """What a canvas allows. `lost` counts the regions in use that nothing matches, by reason.

    `iou` and `cleval` are what the metrics' `compute` gives. Milliseconds are CPU time, the median image's.
    """

    canvas: Size
    images: int
    regions: int
    iou: dict[str, float]
    cleval: dict[str, float]
    lost: dict[MissReason, int]
    bytes_per_image: int
    maps_ms: float
    boxes_ms: float

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        rates = ("precision", "recall", "hmean")
        return {
            "canvas": list(self.canvas),
            "images": self.images,
            "regions": self.regions,
            "iou": {name: self.iou[name] for name in self.iou if name in rates or name.startswith("hmean@")},
            "cleval": {name: self.cleval[name] for name in rates},
            "lost": {reason.value: count for reason, count in self.lost.items()},
            "bytes_per_image": self.bytes_per_image,
            "maps_ms": self.maps_ms,
            "boxes_ms": self.boxes_ms,
        }


def labelled_images(store: Store) -> Iterator[LabelledImage]:
    """Read the ground truth out of a split's canonical store (or its tensors store)."""
    columns = zip(
        store.sample_ids,
        store.small("size").tolist(),
        store.small("points"),
        store.small("text"),
        store.small("ignore"),
        strict=True,
    )
    for sample_id, (height, width), polygons, texts, ignore in columns:
        words = [bytes(text).decode() for text in texts]
        yield LabelledImage(sample_id, (height, width), polygons, words, ignore.astype(bool).tolist())


def find_ceiling(
    images: Iterable[LabelledImage],
    canvas: Size,
    *,
    maps: MapParams | None = None,
    boxes: BoxParams | None = None,
    padding: Padding = "bottom_right",
) -> Ceiling:
    """Measure one canvas (height, width). Raises PipelineError when no image has text to find."""
    maps = maps or MapParams()
    decoder, iou, cleval = BoxDecoder(boxes), IouHmean(), CLEval()
    lost: Counter[MissReason] = Counter()
    maps_s, boxes_s = [], []
    for image in images:
        fitted = letterbox(image.size, canvas, padding)
        on_canvas = [transform_points(fitted.matrix, polygon) for polygon in image.polygons]
        started = time.thread_time()
        prob_map = build_maps(on_canvas, image.ignore, *canvas, maps).prob_map[0]
        mapped = time.thread_time()
        detections = decoder.decode_one(prob_map.astype(np.float32), np.linalg.inv(fitted.matrix), image.size)
        maps_s.append(mapped - started)
        boxes_s.append(time.thread_time() - mapped)

        truth = (image.polygons, image.texts, image.ignore)
        iou.add(iou.measure(detections.polygons, truth[0], ignore=truth[2]))
        cleval.add(cleval.measure(detections.polygons, truth[0], texts=truth[1], ignore=truth[2]))
        fates = shape_polygons(on_canvas, image.ignore, *canvas, maps).fates
        lost.update(_missed(iou, detections.polygons, image, fates))

    counts: dict[str, float] = iou.compute() if iou.update_called else {"targets": 0}
    if not counts["targets"]:
        raise PipelineError("there is no text to find in these images, so nothing tells a ceiling")
    return Ceiling(
        canvas=canvas,
        images=int(counts["images"]),
        regions=int(counts["targets"]),
        iou=counts,
        cleval=cleval.compute(),
        lost={loss: lost[loss] for loss in MissReason},
        bytes_per_image=BYTES_PER_PIXEL * canvas[0] * canvas[1],
        maps_ms=1000 * median(maps_s),
        boxes_ms=1000 * median(boxes_s),
    )


def _missed(
    iou: IouHmean, found: Sequence[Points], image: LabelledImage, fates: Sequence[PolygonFate]
) -> Iterator[MissReason]:
    """Say of each region in use that nothing matches why that is."""
    match = iou.match(found, image.polygons, image.ignore)
    matched = {target for target, _ in match.pairs}
    middles = np.array([polygon.mean(axis=0) for polygon in image.polygons], dtype=np.float64)
    held = points_inside(middles.reshape(-1, 2), PackedPolygons.of(found))
    held &= match.targets_in_use[:, None]
    shared_by_many = held.sum(axis=0) > 1
    by_fate = {
        PolygonFate.INVALID: MissReason.OUTSIDE,
        PolygonFate.TOO_SMALL: MissReason.TOO_SMALL,
        PolygonFate.VANISHED: MissReason.VANISHED,
    }
    for target in np.flatnonzero(match.targets_in_use).tolist():
        if target in matched:
            continue
        if fates[target] in by_fate:
            yield by_fate[fates[target]]
        elif not held[target].any():
            yield MissReason.BELOW_MINIMUM
        else:
            yield MissReason.MERGED if shared_by_many[held[target]].any() else MissReason.MISSHAPEN
