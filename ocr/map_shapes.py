"""What becomes of each polygon on the canvas: judged, and offset by ±D."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, chain, pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyclipper

from ocr.map_backends import Backend

Path = list[list[int]]
"""A closed polygon as Clipper gives and takes it: [[x, y], …]."""


class Verdict(Enum):
    """What the maps make of one polygon: the first of these that applies."""

    IGNORED = "ignored"
    INVALID = "invalid"
    TOO_SMALL = "too_small"
    VANISHED = "vanished"
    KEPT = "kept"


@dataclass(frozen=True)
class Outlines:
    """Closed integer polygons end to end: the i-th is `points[bounds[i]:bounds[i + 1]]`, int32 (P, 2).

    `owner` int64 (N,) is the index of the annotated polygon that each comes from.
    """

    points: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]

    @classmethod
    def of(cls, paths: Sequence[Path], owner: Sequence[int]) -> Outlines:
        """Lay paths end to end."""
        flat = np.fromiter(chain.from_iterable(chain.from_iterable(paths)), np.int32)
        bounds = np.cumsum([0, *map(len, paths)])
        return cls(flat.reshape(-1, 2), bounds, np.array(owner, np.int64))

    @classmethod
    def but_empty(cls, points: npt.NDArray[np.int32], bounds: npt.NDArray[np.int64]) -> Outlines:
        """Take those outlines that have points; each is owned by the polygon of its index."""
        owner = np.flatnonzero(np.diff(bounds))
        return cls(points, np.append(0, bounds[1:][owner]), owner)

    def __iter__(self) -> Iterator[npt.NDArray[np.int32]]:
        bounds = self.bounds.tolist()
        return (self.points[start:stop] for start, stop in pairwise(bounds))

    def join(self, other: Outlines) -> Outlines:
        """Put the other outlines after these."""
        if not len(other.owner):
            return self
        return Outlines(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.bounds, other.bounds[1:] + self.bounds[-1]]),
            np.concatenate([self.owner, other.owner]),
        )


NO_OUTLINES = Outlines.of([], [])


@dataclass(frozen=True)
class Shapes:
    """The N polygons of one sample as the maps draw them.

    `verdicts` has an entry per polygon. `rings` float64 (M, 2) with `bounds` int64 (N + 1,) are the
    polygons cleaned and clamped, those without an interior empty. `distance` float64 (N,) is D in
    pixels. `masked` are the outlines that the probability mask loses; `kernels` the shrunk parts, and
    `grown` the grown outlines, of the polygons that are kept.
    """

    verdicts: tuple[Verdict, ...]
    rings: npt.NDArray[np.float64]
    bounds: npt.NDArray[np.int64]
    distance: npt.NDArray[np.float64]
    masked: Outlines
    kernels: Outlines
    grown: Outlines


def shape_polygons(
    polygons: Sequence[npt.ArrayLike],
    ignore: Sequence[bool] | Sequence[int] | npt.NDArray[np.generic],
    height: int,
    width: int,
    *,
    shrink_ratio: float,
    min_text_size: float,
    parts: Literal["first", "all"],
    backend: Backend,
) -> Shapes:
    """Judge the polygons, each (P, 2) as x, y in canvas pixels, and offset those that are kept.

    The offset distance is D = A (1 − r²) / L (Liao et al., "Real-time Scene Text Detection with
    Differentiable Binarization", 2020, equation 10), area A and perimeter L of the clamped float64
    polygon. `ValueError` names a polygon whose points are malformed or not finite.
    """
    ignored = np.asarray(ignore, dtype=bool)
    if ignored.shape != (len(polygons),):
        raise ValueError(
            f"{len(polygons)} polygons have ignore flags of shape {ignored.shape}; each needs one"
        )
    rings, bounds = backend.clean(*_gather(polygons), height, width)
    area, perimeter, side = backend.measure(rings, bounds).T
    valid = ~ignored & (area >= 1)
    wanted = valid & (side >= min_text_size)
    distance = np.divide(area * (1 - shrink_ratio**2), perimeter, out=np.zeros_like(area), where=wanted)

    # The original truncates here: Clipper takes integers, and what is masked is filled as int32.
    whole = rings.astype(np.int32)
    points, starts, grown_points, grown_starts = backend.offset_outlines(whole, bounds, wanted, distance)
    kernels, grown = Outlines.but_empty(points, starts), Outlines.but_empty(grown_points, grown_starts)
    kept = np.zeros(len(polygons), bool)
    kept[grown.owner] = True
    clipped_kernels, clipped_grown = _offset_by_clipper(whole, bounds, wanted & ~kept, distance, parts)
    kept[clipped_grown.owner] = True

    # How many of the tests, in the order of the verdicts, a polygon has passed.
    codes = np.where(kept, 4, np.where(wanted, 3, np.where(valid, 2, np.where(ignored, 0, 1))))
    order = tuple(Verdict)
    return Shapes(
        verdicts=tuple(order[code] for code in codes.tolist()),
        rings=rings,
        bounds=bounds,
        distance=distance,
        masked=_select(whole, bounds, ~kept),
        kernels=kernels.join(clipped_kernels),
        grown=grown.join(clipped_grown),
    )


def _gather(polygons: Sequence[npt.ArrayLike]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Copy polygons into points (M, 2), end to end, and bounds (N + 1,)."""
    parts = [np.asarray(polygon, dtype=np.float64) for polygon in polygons]
    for index, part in enumerate(parts):
        if part.ndim != 2 or part.shape[1] != 2:
            if part.size:
                raise ValueError(f"polygon {index} has shape {part.shape}; points are (P, 2), x and y")
            parts[index] = np.empty((0, 2))
    bounds = np.array([0, *accumulate(map(len, parts))], np.int64)
    points = np.concatenate([np.empty((0, 2)), *parts])
    if not np.isfinite(points).all():
        worst = np.flatnonzero(~np.isfinite(points).all(axis=1))[0]
        index = np.searchsorted(bounds, worst, side="right") - 1
        raise ValueError(
            f"polygon {index} has the point {points[worst].tolist()}; coordinates must be finite"
        )
    return points, bounds


def _select(
    points: npt.NDArray[np.int32], bounds: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> Outlines:
    """Take the chosen polygons that have points."""
    counts = np.diff(bounds)
    owner = np.flatnonzero(chosen & (counts > 0))
    taken = points if chosen.all() else points[np.repeat(chosen, counts)]
    return Outlines(taken, np.append(0, np.cumsum(counts[owner])), owner)


def _offset_by_clipper(
    whole: npt.NDArray[np.int32],
    bounds: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.bool_],
    distance: npt.NDArray[np.float64],
    parts: Literal["first", "all"],
) -> tuple[Outlines, Outlines]:
    if not wanted.any():
        return NO_OUTLINES, NO_OUTLINES
    vertices, starts, distances = whole.tolist(), bounds.tolist(), distance.tolist()
    kernels: list[Path] = []
    kernel_owner: list[int] = []
    grown: list[Path] = []
    grown_owner: list[int] = []
    for index in np.flatnonzero(wanted).tolist():
        path = vertices[starts[index] : starts[index + 1]]
        clipper = pyclipper.PyclipperOffset()
        clipper.AddPath(path, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        shrunk = clipper.Execute(-distances[index])
        if shrunk:
            drawn = shrunk[:1] if parts == "first" else shrunk
            kernels += drawn
            kernel_owner += [index] * len(drawn)
            grown.append((clipper.Execute(distances[index]) or [path])[0])
            grown_owner.append(index)
    return Outlines.of(kernels, kernel_owner), Outlines.of(grown, grown_owner)
