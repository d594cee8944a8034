"""What both metrics take: lists per image of lists of (P, 2) polygons, checked once, here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Polygons = Sequence[ArrayLike]


@dataclass(frozen=True)
class ImageRegions:
    """One image of a batch, as it was given; `texts` and `ignore` are None where the caller has none."""

    predictions: Polygons
    targets: Polygons
    texts: Sequence[str] | None
    ignore: ArrayLike | None


def images(
    predictions: Sequence[Polygons],
    targets: Sequence[Polygons],
    texts: Sequence[Sequence[str]] | None = None,
    ignore: Sequence[ArrayLike] | None = None,
) -> Iterator[ImageRegions]:
    """Walk through a batch image by image. Raises ValueError when the lists have different lengths."""
    given = {"predictions": predictions, "targets": targets, "texts": texts, "ignore": ignore}
    lengths = {name: len(lists) for name, lists in given.items() if lists is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"every list must have one entry per image, not {lengths}")
    for image, (predicted, target) in enumerate(zip(predictions, targets, strict=True)):
        yield ImageRegions(
            predicted,
            target,
            None if texts is None else texts[image],
            None if ignore is None else ignore[image],
        )


def as_points(polygon: ArrayLike) -> Points:
    """Give a polygon as float64 (P, 2). Raises ValueError for another shape, fewer than 3 points, NaN."""
    points = np.asarray(polygon, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"a polygon must have the shape (P, 2) with P >= 3, not {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"a polygon must have finite coordinates, not {points.tolist()}")
    return points


def as_flags(ignore: ArrayLike | None, count: int) -> NDArray[np.bool_]:
    """Give one flag per target, all False by default. Raises ValueError when the count differs."""
    if ignore is None:
        return np.zeros(count, dtype=np.bool_)
    flags = np.asarray(ignore, dtype=np.bool_).reshape(-1)
    if len(flags) != count:
        raise ValueError(f"{len(flags)} ignore flags for {count} targets")
    return flags


def as_geometries(polygons: Sequence[Points]) -> NDArray[np.object_]:
    """Build one shapely polygon per (P, 2) array, all in one call."""
    if not polygons:
        return np.empty(0, dtype=object)
    sizes = np.fromiter(map(len, polygons), dtype=np.int64, count=len(polygons))
    rings = shapely.linearrings(np.concatenate(polygons), indices=np.repeat(np.arange(len(sizes)), sizes))
    geometries: NDArray[np.object_] = shapely.polygons(rings)
    return geometries
