"""What a split's labels and images are like: sizes, words, heights of text, what was mended or turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocr.geometry import letterbox, transform_points
from pipeline.store import Store
from warmstore.configuration import RunConfig
from warmstore.report.facts import Distribution, TextFate, Turned


@dataclass
class SplitLabels:
    """What one split's labels are like: a value per image, and `heights` of each region that is to be learnt.

    `heights` are shorter sides of bounding boxes, in canvas pixels, as `min_text_size` is.
    """

    sides: list[float] = field(default_factory=list)
    aspects: list[float] = field(default_factory=list)
    words: list[float] = field(default_factory=list)
    heights: list[float] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    lossy: set[str] = field(default_factory=set)

    @property
    def text(self) -> TextFate:
        """Regions by what the maps make of them."""
        return TextFate(self.fates.total(), dict(self.fates))


def read_labels(store: Store, config: RunConfig) -> SplitLabels:
    """Measure the ground truth of a canonical (or tensors) store on the run's canvas.

    `lossy` names the samples of which the maps lose a region. Raises StoreError where it is damaged.
    """
    from ocr.maps import PolygonFate, shape_polygons

    stages, found = config.stages, SplitLabels()
    canvas = stages.maps.canvas
    columns = (store.small(name) for name in ("size", "points", "ignore"))
    for sample_id, size, polygons, ignore in zip(store.sample_ids, *columns, strict=True):
        height, width = map(int, size)
        matrix = letterbox((height, width), canvas, stages.decode.padding).matrix
        placed = [transform_points(matrix, points) for points in polygons]
        fates = shape_polygons(placed, ignore, *canvas, stages.maps).fates
        found.sides.append(max(height, width))
        found.aspects.append(height / width)
        found.words.append(len(placed))
        counted = [points for points, out in zip(placed, ignore, strict=True) if not out]
        found.heights += [float(np.ptp(points, axis=0).min()) for points in counted]
        found.fates.update(fate.value for fate in fates)
        if not {PolygonFate.KEPT, PolygonFate.IGNORED}.issuperset(fates):
            found.lossy.add(sample_id)
    return found


def distributions(labels: Mapping[str, SplitLabels], min_text_size: float) -> Sequence[Distribution]:
    """Give the quantities that decide about a canvas, over each split."""
    return (
        Distribution("Longer side", "pixels", {s: found.sides for s, found in labels.items()}),
        Distribution("Aspect", "height ÷ width", {s: found.aspects for s, found in labels.items()}),
        Distribution("Words", "per image", {s: found.words for s, found in labels.items()}),
        Distribution(
            "Text height on the canvas",
            "pixels",
            {s: found.heights for s, found in labels.items()},
            min_text_size,
            "min_text_size",
        ),
    )


def turned(split: str, store: Store) -> Iterator[Turned]:
    """List the samples of a canonical store whose image was turned or rewritten, or whose labels were mended.

    Raises StoreError where it is damaged.
    """
    columns = (store.small(name) for name in ("orientation", "transform", "frame", "repairs"))
    for sample_id, orientation, transform, frame, repairs in zip(store.sample_ids, *columns, strict=True):
        if orientation != 1 or transform != "link" or repairs:
            yield Turned(split, sample_id, int(orientation), transform, frame, repairs)
