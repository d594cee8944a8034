"""PaddleOCR label files: a line an image, `image<TAB>[{"transcription": …, "points": [[x, y], …]}, …]`.

`###`, `*` and `"difficult": true` mark words that are not counted. UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocr.annotations.documents import parse_json, read_lines
from ocr.annotations.fields import NO_POINTS, read_flag, read_points, read_text
from ocr.annotations.problems import AnnotationError, Problem, Problems
from ocr.annotations.words import AnnotatedImage, Word

IGNORED = ("###", "*")


def read(path: Path, images: Path) -> Iterator[AnnotatedImage]:
    """Read a label file. A line that names no image fails the whole file, after all lines were seen."""
    lines, notes = read_lines(path)
    nameless: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        file, tab, labels = line.partition("\t")
        if tab:
            yield _image(path, number, file, labels, notes)
        elif line.strip():
            nameless.append(Problem(str(path), f"line {number}", "an image, a tab and JSON", repr(line[:60])))
    if nameless:
        raise AnnotationError(nameless)


def _image(path: Path, number: int, file: str, labels: str, notes: tuple[str, ...]) -> AnnotatedImage:
    start = f"line {number}: "
    try:
        listed = parse_json(labels, path, start)
    except AnnotationError as error:
        return AnnotatedImage(file, (), problems=error.problems, notes=notes)
    problems = Problems(str(path), start + "$")
    words: tuple[Word, ...] = ()
    if isinstance(listed, list):
        words = tuple(_word(word, problems, index) for index, word in enumerate(listed))
    else:
        problems.add((), "a list of words", listed)
    return AnnotatedImage(file, words, None, problems.found(), notes)


def _word(value: Any, problems: Problems, index: int) -> Word:
    if not isinstance(value, dict) or "points" not in value:
        problems.add((index,), "an object with transcription and points", value)
        return Word(NO_POINTS, "", False)
    text = read_text(value.get("transcription"), problems, index, "transcription")
    difficult = read_flag(value.get("difficult"), problems, index, "difficult")
    points = read_points(value["points"], problems, index, "points")
    return Word(points, text, difficult or text in IGNORED)
