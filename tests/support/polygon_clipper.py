"""Stands in for Polygon3, whose clipper is free for non-commercial use only, below CLEval's package.

A module of the name `Polygon` with one class, which has what the package calls.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike


class Polygon:
    """A region of the plane, filled by the even-odd rule, with the methods that CLEval's package calls."""

    def __init__(self, points: ArrayLike = (), region: Any = None) -> None:
        self._corners = [(float(x), float(y)) for x, y in np.asarray(points)]
        self._region = shapely.make_valid(shapely.Polygon(self._corners)) if region is None else region

    def __and__(self, other: Polygon) -> Polygon:
        return Polygon(region=shapely.intersection(self._region, other._region))

    def __sub__(self, other: Polygon) -> Polygon:
        return Polygon(region=shapely.difference(self._region, other._region))

    def __len__(self) -> int:
        return int(self._region.area > 0)

    def area(self) -> float:
        """Give the shoelace formula's area of what has corners, as Polygon3 does; the region's otherwise."""
        edges = pairwise([*self._corners, *self._corners[:1]])
        shoelace = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges)
        return abs(shoelace) / 2 if self._corners else self._region.area

    def isInside(self, x: float, y: float) -> bool:  # noqa: N802
        """Tell whether a ray from the point crosses the outline an odd number of times."""
        crossings = 0
        for ring in [[*self._corners, *self._corners[:1]]] if self._corners else self._rings():
            for (x0, y0), (x1, y1) in pairwise(ring):
                crossings += (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
        return crossings % 2 == 1

    def _rings(self) -> list[list[tuple[float, float]]]:
        parts = [part for part in shapely.get_parts(self._region) if part.geom_type == "Polygon"]
        return [[*ring.coords] for part in parts for ring in (part.exterior, *part.interiors)]
