"""PaddleOCR label files: a line an image, `image<TAB>[{"transcription": …, "points": [[x, y], …]}, …]`.

`###`, `*`, `"difficult": true` and `"illegibility": true` mark words that are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ocr.annotations.documents import parse_json, read_lines
from ocr.annotations.labels import Labels, keys
from ocr.annotations.primitives import NO_POINTS, read_flag, read_points, read_text
from ocr.annotations.problems import AnnotationError, Problem, Problems
from ocr.annotations.words import AnnotatedImage, Word

IGNORED = ("###", "*")
FLAGS = ("difficult", "illegibility")
# Keys that are read; and behind the bar, those that are known to change nothing.
WORD = keys("transcription points").union(FLAGS) | keys("key_cls id linking language")


def read(labels: Labels) -> Iterator[AnnotatedImage]:
    """Read a label file. A line that names no image fails the whole file, after all lines were seen."""
    path, lines = labels.path, read_lines(labels.path, labels)
    nameless: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        file, tab, text = line.partition("\t")
        if tab:
            yield _image(labels, number, file, text)
        elif line.strip():
            nameless.append(Problem(str(path), f"line {number}", "an image, a tab and JSON", repr(line[:60])))
    if nameless:
        raise AnnotationError(nameless)


def _image(labels: Labels, number: int, file: str, text: str) -> AnnotatedImage:
    start = f"line {number}: "
    try:
        listed = parse_json(text, labels.path, start)
    except AnnotationError as error:
        return AnnotatedImage(file, (), problems=error.problems)
    problems = Problems(str(labels.path), start + "$")
    words: tuple[Word, ...] = ()
    if isinstance(listed, list):
        words = tuple(_word(word, labels, problems, index) for index, word in enumerate(listed))
    else:
        problems.add((), "a list of words", listed)
    return AnnotatedImage(file, words, None, problems.found())


def _word(value: Any, labels: Labels, problems: Problems, index: int) -> Word:
    if not isinstance(value, dict) or "points" not in value:
        problems.add((index,), "an object with transcription and points", value)
        return Word(NO_POINTS, "", False)
    labels.unread("", value, WORD)
    text = read_text(value.get("transcription"), problems, index, "transcription")
    flags = [read_flag(value[name], problems, index, name) for name in FLAGS if name in value]
    points = read_points(value["points"], problems, index, "points")
    return Word(points, text, any(flags) or text in IGNORED)
