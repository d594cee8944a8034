"""What every annotation format becomes: images with words, a word being a polygon and its text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import overload

import numpy as np
import xxhash
from numpy.typing import NDArray

from ocr.annotations.problems import Problem
from ocr.geometry import Points

IGNORED = "###"
"""The text of a word that is not counted, by the custom of this field."""


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A polygon as it was drawn, before any repair.

    `points` is float64 (P, 2), x then y in pixels of the frame that it was drawn in; P may be
    anything, 0 included (a word that has a text and no place). `ignore` marks a region that neither
    the loss nor the metric counts.
    """

    points: Points
    text: str
    ignore: bool


@dataclass(frozen=True, slots=True, eq=False)
class Words(Sequence[Word]):
    """The words of an image, end to end: a word is made of them where it is asked for.

    `points` is float64 (P, 2); `extents` int32 (W, 3): how many points each word has, whether it is
    ignored, and how many bytes of `text`, which is UTF-8. `digest` is `words_digest` of them.
    """

    points: Points
    extents: NDArray[np.int32]
    text: bytes
    digest: bytes

    @classmethod
    def of(cls, words: Iterable[Word]) -> Words:
        """Lay words end to end."""
        if isinstance(words, Words):
            return words
        words = tuple(words)
        points = np.concatenate([_NO_POINTS, *(word.points for word in words)])
        counts, ignore = [len(word.points) for word in words], [word.ignore for word in words]
        return cls.laid(points, counts, ignore, [word.text.encode() for word in words])

    @classmethod
    def laid(
        cls, points: Points, counts: Sequence[int], ignore: Sequence[bool], texts: Sequence[bytes]
    ) -> Words:
        """Take points that lie end to end, with how many each word has, its flag and its text in UTF-8."""
        points.flags.writeable = False
        extents = np.array([counts, ignore, list(map(len, texts))], dtype=np.int32).T
        text = b"".join(texts)
        return cls(points, extents, text, _digest(points, extents, text))

    def __len__(self) -> int:
        return len(self.extents)

    def __iter__(self) -> Iterator[Word]:
        return starmap(Word, self.parts())

    def parts(self) -> Iterator[tuple[Points, str, bool]]:
        """Give points, text and flag of each word: a `Word` of them takes as long again."""
        point = byte = 0
        for points, ignore, size in self.extents.tolist():
            text = self.text[byte : byte + size].decode()
            yield self.points[point : point + points], text, bool(ignore)
            point, byte = point + points, byte + size

    @overload
    def __getitem__(self, index: int) -> Word: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Word]: ...
    def __getitem__(self, index: int | slice) -> Word | Sequence[Word]:
        return tuple(self)[index]


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """One image of an annotation file: its name as written there, and its words in order.

    `size` is the (height, width) that the annotation states, if it does: evidence for the frame
    audit. `problems` says what in these labels could not be understood: such a sample must not be used.
    """

    file: str
    words: Sequence[Word]
    size: tuple[int, int] | None = None
    problems: tuple[Problem, ...] = ()


def words_digest(words: Sequence[Word]) -> bytes:
    """Give 16 bytes that name the words: xxh3-128 of points, texts, flags and their order.

    `1` and `1.0`, and `0.0` and `-0.0`, are the same value; so are all NaN.
    """
    return Words.of(words).digest


_NO_POINTS: Points = np.empty((0, 2))


def _digest(points: Points, extents: NDArray[np.int32], text: bytes) -> bytes:
    values = points + 0.0
    values[np.isnan(values)] = np.nan
    numbers = values if sys.byteorder == "little" else values.byteswap()
    shape = [tuple(extent) for extent in extents.tolist()]
    return xxhash.xxh3_128_digest(b"".join((str(shape).encode(), numbers.tobytes(), text)))
