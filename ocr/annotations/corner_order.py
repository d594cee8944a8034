"""What people write and mean otherwise: four points in Z order, two corners of a box, a bare `###`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ocr.annotations.labels import Labels
from ocr.annotations.primitives import box_points
from ocr.annotations.words import IGNORED, AnnotatedImage, Word
from ocr.geometry import Points


def as_meant(image: AnnotatedImage, labels: Labels) -> AnnotatedImage:
    """Put four points in Z order round, make a box of two corners, ignore `###`; all are told."""
    found: dict[int, Word] = {}
    fours = [index for index, word in enumerate(image.words) if len(word.points) == 4]
    if fours:
        quads = np.array([image.words[index].points for index in fours])
        for index, points in zip(fours, _put_round(quads), strict=True):
            if points is not None:
                found[index] = replace(image.words[index], points=points)
                labels.remark("has words of four points in Z order, which were put round")
    for index, word in enumerate(image.words):
        if len(word.points) == 2 and (word.points[0] != word.points[1]).all():
            low, high = word.points.min(axis=0), word.points.max(axis=0)
            found[index] = replace(word, points=box_points(*low, *high))
            labels.remark("has words of two points, which were read as two corners of a box")
        if word.text == IGNORED and not word.ignore:
            found[index] = replace(found.get(index, word), ignore=True)
            labels.remark("has words ### that no flag marks, which are not counted (ignore)")
    if not found:
        return image
    return replace(image, words=tuple(found.get(index, word) for index, word in enumerate(image.words)))


_TRIPLES = [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]


def _put_round(quads: NDArray[np.float64]) -> list[Points | None]:
    """For each of (N, 4, 2): None, or its points in the one order in which their edges do not cross.

    Two edges cross where the ends of each lie on different sides of the other.
    """
    with np.errstate(all="ignore"):  # what is not finite crosses nothing
        a, b, c = quads[:, _TRIPLES].transpose(2, 3, 1, 0)
        s012, s013, s023, s123 = np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        first = (s012 * s013 < 0) & (s023 * s123 < 0)  # the edges 0-1 and 2-3
        second = (s123 * s012 < 0) & (s013 * s023 < 0)  # the edges 1-2 and 3-0
    if not (first | second).any():
        return [None] * len(quads)
    orders = np.where(first, 1, np.where(second, 2, 0))
    swapped = ((), (0, 2, 1, 3), (0, 1, 3, 2))
    return [quad[list(swapped[order])] if order else None for quad, order in zip(quads, orders, strict=True)]
