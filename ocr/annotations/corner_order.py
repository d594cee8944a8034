"""What people write and mean otherwise: four points in Z order, two corners of a box, a bare `###`.

Millions of words are meant as they are written, so many images at once are searched for those that are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ocr.annotations.labels import Labels
from ocr.annotations.primitives import box_points
from ocr.annotations.words import IGNORED, AnnotatedImage, Word, Words


def as_meant(images: Iterable[AnnotatedImage], labels: Labels) -> Iterator[AnnotatedImage]:
    """Put four points in Z order round, make a box of two corners, ignore `###`; all are told."""
    left = iter(images)
    while some := [replace(image, words=Words.of(image.words)) for image in islice(left, _AT_ONCE)]:
        written_otherwise = _suspects([Words.of(image.words) for image in some])
        for number, image in enumerate(some):
            yield _as_meant(image, labels) if number in written_otherwise else image


def _suspects(images: Sequence[Words]) -> set[int]:
    """Find the images that have a word of two points, of four in Z order, or of the text `###`."""
    extents = np.concatenate([words.extents for words in images])
    counts, ignored, sizes = extents.T
    points = np.concatenate([words.points for words in images])
    text = np.frombuffer(b"".join(words.text for words in images), dtype=np.uint8)
    marks = np.frombuffer(IGNORED.encode(), dtype=np.uint8)

    def first(lengths: NDArray[np.int32], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return (np.cumsum(lengths) - lengths)[chosen, np.newaxis]

    twos, fours, short = counts == 2, counts == 4, (sizes == len(marks)) & (ignored == 0)
    fours[fours] = _orders(points[first(counts, fours) + np.arange(4)]) > 0
    short[short] = (text[first(sizes, short) + np.arange(len(marks))] == marks).all(axis=1)
    owners = np.repeat(np.arange(len(images)), [len(words) for words in images])
    return set(owners[twos | fours | short].tolist())


def _as_meant(image: AnnotatedImage, labels: Labels) -> AnnotatedImage:
    """Put four points in Z order round, make a box of two corners, ignore `###`; all are told."""
    found: dict[int, Word] = {}
    written = tuple(image.words)
    fours = [index for index, word in enumerate(written) if len(word.points) == 4]
    if fours:
        quads = np.array([written[index].points for index in fours])
        for index, quad, order in zip(fours, quads, _orders(quads), strict=True):
            if order:
                found[index] = replace(written[index], points=quad[list(_SWAPPED[order])])
                labels.remark("has words of four points in Z order, which were put round")
    for index, word in enumerate(written):
        if len(word.points) == 2 and (word.points[0] != word.points[1]).all():
            low, high = word.points.min(axis=0), word.points.max(axis=0)
            found[index] = replace(word, points=box_points(*low, *high))
            labels.remark("has words of two points, which were read as two corners of a box")
        if word.text == IGNORED and not word.ignore:
            found[index] = replace(found.get(index, word), ignore=True)
            labels.remark("has words ### that no flag marks, which are not counted (ignore)")
    if not found:
        return image
    return replace(image, words=Words.of(found.get(index, word) for index, word in enumerate(written)))


_AT_ONCE = 4096
_SWAPPED = (0, 1, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2)
_TRIPLES = [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]


def _orders(quads: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each of (N, 4, 2) the order in `_SWAPPED` in which its edges do not cross: 0 for those as it is.

    Two edges cross where the ends of each lie on different sides of the other.
    """
    with np.errstate(all="ignore"):  # what is not finite crosses nothing
        a, b, c = quads[:, _TRIPLES].transpose(2, 3, 1, 0)
        s012, s013, s023, s123 = np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        first = (s012 * s013 < 0) & (s023 * s123 < 0)  # the edges 0-1 and 2-3
        second = (s123 * s012 < 0) & (s013 * s023 < 0)  # the edges 1-2 and 3-0
    return np.where(first, 1, np.where(second, 2, 0))
