"""What every annotation format becomes: images with words, a word being a polygon and its text."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import xxhash

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
class AnnotatedImage:
    """One image of an annotation file: its name as written there, and its words in order.

    `size` is the (height, width) that the annotation states, if it does: evidence for the frame
    audit. `problems` says what in these labels could not be understood: such a sample must not be used.
    """

    file: str
    words: tuple[Word, ...]
    size: tuple[int, int] | None = None
    problems: tuple[Problem, ...] = ()


def words_digest(words: tuple[Word, ...]) -> bytes:
    """Give 16 bytes that name the words: xxh3-128 of points, texts, flags and their order.

    `1` and `1.0`, and `0.0` and `-0.0`, are the same value; so are all NaN.
    """
    texts = [word.text.encode() for word in words]
    shape = [(len(word.points), int(word.ignore), len(text)) for word, text in zip(words, texts, strict=True)]
    points = np.concatenate([np.empty((0, 2)), *(word.points for word in words)]) + 0.0
    points[np.isnan(points)] = np.nan
    numbers = points if sys.byteorder == "little" else points.byteswap()
    return xxhash.xxh3_128_digest(b"".join((str(shape).encode(), numbers.tobytes(), *texts)))
