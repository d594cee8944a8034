"""Problems in annotation files: where, what was expected, what was found; collected, then told at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.errors import PipelineError

KEPT = 100  # problems kept per image or file, so that a wrong file of 1 GB gives a readable answer
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file. `where` is `line 3` or a path such as `$.images["a.jpg"].words`."""

    file: str
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: expected {self.expected}, found {self.found}"


class AnnotationError(PipelineError):
    """An annotation file that cannot be used; `problems` has all that was found, up to a limit."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(describe(self.problems))


def describe(problems: tuple[Problem, ...], shown: int = SHOWN) -> str:
    """Give a line for each of the first `shown` problems, and say how many more there are."""
    lines = [str(problem) for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"and {len(problems) - shown} more")
    return "\n".join(lines)


def failure(file: object, where: str, expected: str, found: str) -> AnnotationError:
    """Give the error of a file that has one problem."""
    return AnnotationError([Problem(str(file), where, expected, found)])


class Problems:
    """Collects the problems of one image (or one file); the first `KEPT` are kept.

    `start` is put before every path: `$.images["a.jpg"]`, or `line 3: $`.
    """

    def __init__(self, file: str, start: str = "$") -> None:
        self.file = file
        self.start = start
        self._kept: list[Problem] = []

    def add(self, where: tuple[str | int, ...], expected: str, found: object) -> None:
        """Note that the value at the path `where` is not what was expected."""
        self.note(self.start + json_path(where), expected, show(found))

    def note(self, where: str, expected: str, found: str) -> None:
        """Note a problem at a place and with words of the caller's own."""
        if len(self._kept) < KEPT:
            self._kept.append(Problem(self.file, where, expected, found))

    def found(self) -> tuple[Problem, ...]:
        """Give what was collected."""
        return tuple(self._kept)


def json_path(parts: tuple[str | int, ...]) -> str:
    """Write keys and indices as in `.words["a b"].points[2]`."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():
            path += f".{part}"
        else:
            path += f"[{json.dumps(part)}]"
    return path


def show(value: object, longest: int = 60) -> str:
    """Give a short, printable form of any JSON value, for the end of a sentence."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    if isinstance(value, list) and len(value) > 8:
        return f"a list of {len(value)} items"
    try:
        # One character of input becomes six of output at most: cut before, not only after.
        text = json.dumps(value[:longest] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # an integer of over 4300 digits, a list without end
        return "a value too long to show"
    return text if len(text) <= longest else text[: longest - 1] + "…"
