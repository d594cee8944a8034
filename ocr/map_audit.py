"""What the maps cost in recall: which polygons a detector can learn and find on a canvas, and which not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ocr.geometry import Padding, Size, letterbox, transform_points
from ocr.map_shapes import Outlines
from ocr.maps import Flags, MapParams, Polygons, shape_maps

Matrix = npt.NDArray[np.float64]


class Fate(Enum):
    """What becomes of a polygon; a detector cannot tell merged ones apart, and never sees the last four."""

    KEPT = "kept"
    MERGED = "merged"
    TOO_SMALL = "too_small"
    VANISHED = "vanished"
    INVALID = "invalid"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Tally:
    """How many polygons met which fate, over a number of samples."""

    samples: int
    counts: Mapping[Fate, int]

    @property
    def annotated(self) -> int:
        """The polygons that a metric counts: all but the ignored."""
        return sum(self.counts.values()) - self.counts[Fate.IGNORED]

    @property
    def recall_limit(self) -> float:
        """The share of annotated polygons that have a kernel of their own; 1 where there are none."""
        return self.counts[Fate.KEPT] / self.annotated if self.annotated else 1.0

    def as_json(self) -> dict[str, int | float]:
        """Give samples, polygons per fate, and the limit of recall."""
        fates = {fate.value: self.counts[fate] for fate in Fate}
        return {"samples": self.samples, **fates, "recall_limit": self.recall_limit}


@dataclass(frozen=True)
class UprightSample:
    """The ground truth of one sample: `size` is (height, width), `polygons` (P, 2) are in upright pixels."""

    size: Size
    polygons: Polygons
    ignore: Flags


def fates(
    polygons: Polygons, ignore: Flags, height: int, width: int, params: MapParams | None = None
) -> tuple[Fate, ...]:
    """Tell the fate of each polygon, (P, 2) in canvas pixels.

    Kernels are merged where they touch, at a corner too, as DBNet's post-processing takes connected
    pixels for one text. Raises what `build_maps` raises.
    """
    shapes = shape_maps(polygons, ignore, height, width, params)
    merged = _merged(shapes.kernels, height, width)
    return tuple(
        Fate.MERGED if index in merged else Fate(verdict.value)
        for index, verdict in enumerate(shapes.verdicts)
    )


def tally(
    samples: Iterable[tuple[Polygons, Flags, Matrix]], canvas: Size, params: MapParams | None = None
) -> Tally:
    """Count fates over samples of upright polygons, ignore flags, and the matrix upright → canvas."""
    count, counts = 0, Counter(dict.fromkeys(Fate, 0))
    for polygons, ignore, matrix in samples:
        on_canvas = [transform_points(matrix, polygon) for polygon in polygons]
        counts.update(fates(on_canvas, ignore, *canvas, params))
        count += 1
    return Tally(count, counts)


def compare_canvases(
    samples: Sequence[UprightSample],
    canvases: Iterable[Size],
    params: MapParams | None = None,
    padding: Padding = "bottom_right",
) -> dict[Size, Tally]:
    """Count fates on each canvas (height, width), so that one can be chosen."""
    return {
        canvas: tally(
            (
                (sample.polygons, sample.ignore, letterbox(sample.size, canvas, padding).matrix)
                for sample in samples
            ),
            canvas,
            params,
        )
        for canvas in canvases
    }


COLOURS = {
    Fate.KEPT: (0, 160, 60),
    Fate.MERGED: (220, 0, 200),
    Fate.TOO_SMALL: (230, 30, 30),
    Fate.VANISHED: (240, 140, 0),
    Fate.INVALID: (120, 60, 20),
    Fate.IGNORED: (110, 110, 110),
}
"""The colour, RGB, in which an overlay shows each fate."""


def write_overlay(
    path: Path,
    image: npt.NDArray[np.uint8],
    polygons: Polygons,
    ignore: Flags,
    params: MapParams | None = None,
) -> tuple[Fate, ...]:
    """Write a PNG of `image`, uint8 (3, H, W) RGB on the canvas, with polygons and kernels in `COLOURS`.

    Kernels are tinted, polygons outlined. A legend with counts stands below. Gives the fates that it shows.
    """
    _, height, width = image.shape
    told = fates(polygons, ignore, height, width, params)
    picture = np.ascontiguousarray(image.transpose(1, 2, 0))
    kernels = shape_maps(polygons, ignore, height, width, params).kernels
    tinted = picture.copy()
    for outline, owner in zip(kernels, kernels.owner.tolist(), strict=True):
        cv2.fillPoly(tinted, [outline], COLOURS[told[owner]])
    picture = cv2.addWeighted(picture, 0.5, tinted, 0.5, 0)
    for polygon, fate in zip(polygons, told, strict=True):
        points = np.clip(np.asarray(polygon, np.float64).reshape(-1, 2), -(2**15), 2**15)
        cv2.polylines(picture, [points.round().astype(np.int32)], True, COLOURS[fate])
    Image.fromarray(np.concatenate([picture, _legend(Counter(told), width)])).save(path, format="PNG")
    return told


def _merged(kernels: Outlines, height: int, width: int) -> frozenset[int]:
    """Give the polygons that share a connected component of kernels with another one."""
    plane = np.zeros((height, width), np.uint8)
    for outline in kernels:
        cv2.fillPoly(plane, [outline], 1)
    _, labels = cv2.connectedComponents(plane, connectivity=8)
    owners: dict[int, set[int]] = {}
    for outline, owner in zip(kernels, kernels.owner.tolist(), strict=True):
        column, row = outline[0]
        owners.setdefault(int(labels[row, column]), set()).add(owner)
    return frozenset(owner for sharing in owners.values() if len(sharing) > 1 for owner in sharing)


def _legend(counts: Counter[Fate], width: int) -> npt.NDArray[np.uint8]:
    lines = [(fate, f"{fate.value.replace('_', ' ')}: {counts[fate]}") for fate in Fate]
    legend = np.full((18 * len(lines) + 6, width, 3), 255, np.uint8)
    for line, (fate, text) in enumerate(lines):
        cv2.putText(
            legend, text, (6, 18 * (line + 1)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, COLOURS[fate], 1, cv2.LINE_AA
        )
    return legend
