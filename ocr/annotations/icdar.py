"""ICDAR text: a folder with one text file an image, one word a line.

ICDAR 2015, and the receipts of ICDAR 2019: `x1,y1,x2,y2,x3,y3,x4,y4,text`, the text being all that
follows the eighth comma, commas and quotes included. ICDAR 2013: `left, top, right, bottom, "text"`,
or the same with spaces. `###` marks a word that is not counted. UTF-8, with or without BOM, or Latin-1.

The labels of `a/001.jpg` are in `a/001.txt`, `a/001.csv`, `a/gt_001.txt` or `a/gt_001.csv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ocr.annotations.documents import read_lines
from ocr.annotations.fields import NO_POINTS, box_points
from ocr.annotations.folders import images_by_stem, label_files
from ocr.annotations.problems import AnnotationError, Problems
from ocr.annotations.words import AnnotatedImage, Word

IGNORED = "###"
SUFFIXES = (".txt", ".csv")

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:nan|inf(?:inity)?)", re.ASCII)


def read(path: Path, images: Path) -> Iterator[AnnotatedImage]:
    """Read a folder of text files (or one file), in the order of their names."""
    by_stem = images_by_stem(images)
    for file, stem in label_files(path, SUFFIXES):
        yield _image(file, stem, by_stem)


def is_word(line: str) -> bool:
    """Say whether a line is a word of this format."""
    return bool(_quad(line) or _box(line))


def _image(file: Path, stem: str, by_stem: Mapping[str, list[str]]) -> AnnotatedImage:
    problems = Problems(str(file), "")
    names = by_stem.get(stem) or by_stem.get(_without_prefix(stem)) or [_without_prefix(stem)]
    if len(names) > 1:
        problems.note("the file", f"one image of this name in {names[0]!r} and its like", str(names))
    try:
        lines, notes = read_lines(file)
    except AnnotationError as error:
        return AnnotatedImage(names[0], (), problems=error.problems)
    words = tuple(_word(line, problems, number) for number, line in enumerate(lines, start=1) if line.strip())
    return AnnotatedImage(names[0], words, None, problems.found(), notes)


def _without_prefix(stem: str) -> str:
    folder, slash, name = stem.rpartition("/")
    return folder + slash + name.removeprefix("gt_")


def _word(line: str, problems: Problems, number: int) -> Word:
    fields = _quad(line) or _box(line)
    if fields is None:
        problems.note(
            f"line {number}", "8 coordinates (or 4) and a text, separated by commas", repr(line[:80])
        )
        return Word(NO_POINTS, "", False)
    coordinates, text = fields
    points = box_points(*coordinates) if len(coordinates) == 4 else np.array(coordinates).reshape(4, 2)
    points.flags.writeable = False
    return Word(points, text, text == IGNORED)


def _quad(line: str) -> tuple[list[float], str] | None:
    fields = line.split(",", 8)
    numbers = _numbers(fields[:8])
    return (numbers, "".join(fields[8:])) if len(numbers) == 8 else None


def _box(line: str) -> tuple[list[float], str] | None:
    """Read four numbers and a text. A fifth number is refused, unless quoted: half a quad looks like that."""
    for separator in (",", None):
        fields = line.split(separator, 4)
        numbers = _numbers(fields[:4])
        if len(numbers) < 4 or len(fields) < 5:
            continue
        text = fields[4].strip()
        if len(text) >= 2 and text[0] == text[-1] == '"':
            return numbers, text[1:-1]
        if separator and not _numbers(text.split(",", 1)[:1]):
            return numbers, text
    return None


def _numbers(fields: list[str]) -> list[float]:
    """Convert fields up to the first that is not a number."""
    numbers: list[float] = []
    for field in fields:
        number = field.strip(" \t")  # a plain strip() takes separators that float() refuses
        if not _NUMBER.fullmatch(number):
            break
        numbers.append(float(number))
    return numbers
