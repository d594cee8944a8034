"""Label files of every importer with a field renamed, moved, emptied or doubled, and a judge of what is read.

The judge knows no format. Every number of a polygon occurs once in a data set, so it looks for the polygons
that were drawn, in what was accepted and in the file. What is accepted must have been drawn; what still
stands in the file must have been accepted, refused or told.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocr.annotations import LabelOptions
from ocr.splits import AnnotatedSplit
from pipeline.digest import digest
from pipeline.errors import PipelineError
from tests.support.written_labels import Drawn, Polygon


def mutate(files: dict[str, Any], dice: random.Random) -> str:
    """Rename, move, empty or double one field in place; gives what was done."""
    places = [place for content in files.values() for place in _places(content)]
    holder, key = dice.choice(places)
    value = copy.deepcopy(holder[key])
    done = dice.choice(("rename", "move", "empty", "double"))
    if isinstance(value, str) and isinstance(holder, list):  # a field of a line
        _mutate_field(holder, key, value, done)
    elif isinstance(value, list) and value and isinstance(value[0], str):  # a line
        holder[key : key + 1] = [value, value] if done in ("rename", "double") else []
    elif done == "rename" and isinstance(holder, dict):
        del holder[key]
        holder[dice.choice((f"{key}_x", f"{key}s", str(key).upper(), "other"))] = value
    elif done == "rename":
        holder[key] = {"other": value}
    elif done == "move":
        del holder[key]
        other = dice.choice([holder for holder, _ in places if _can_take(holder, str(key), value)])
        if isinstance(other, dict):
            other[str(key)] = value
        else:
            other.append(value)
    elif done == "empty":
        holder[key] = dice.choice((None, "", [], {}, [[]]))
    elif isinstance(holder, dict):
        holder[f"{key}_copy"] = value
    else:
        holder.insert(key, value)
    return f"{done} {key!r} of {type(holder).__name__}"


def _mutate_field(fields: list[str], at: int, value: str, done: str) -> None:
    """Mutate a field of a line; a coordinate moves behind the text, anything else before the coordinates."""
    if done == "move":
        del fields[at]
        fields.insert(len(fields) if value.replace(".", "").isdigit() else 0, value)
    elif done == "double":
        fields.insert(at, value)
    else:
        fields[at] = f"{value}x" if done == "rename" else ""


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every value, as its container and its key."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _can_take(holder: Any, key: str, value: Any) -> bool:
    """Whether a value means another thing there: no coordinate among coordinates, none in another's place."""
    if isinstance(holder, dict):
        return key not in holder
    numbers = isinstance(value, int | float), isinstance(value, list) and isinstance(value[0], int | float)
    return not any(numbers) and not any(isinstance(item, int | float | str) for item in holder)


def encode(name: str, content: Any) -> str:
    """Write a file of labels."""
    if name.endswith(".json"):
        return json.dumps(content)
    if isinstance(content, dict):
        return "".join(f"{image}\t{json.dumps(words)}\n" for image, words in content.items())
    return "".join(",".join(row) + "\n" for row in content)


@dataclass
class Outcome:
    """What became of a data set: the words that were accepted, and whether something was said."""

    words: list[tuple[Polygon, str, bool]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def look(root: Path, files: dict[str, str], format: str) -> Outcome:
    """Read a data set whose images lie in `root/img`."""
    for path in (root / "gt").glob("*"):
        path.unlink()
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    place = root / next(iter(files)).split("/")[0]
    split = AnnotatedSplit(root / "img", place, format, "upright", options=LabelOptions(split="val"))
    found = Outcome()
    try:
        samples = split.samples(lambda path: digest(path.read_bytes()))
    except PipelineError as error:
        found.said.append(str(error))
        return found
    found.said += [str(sample.verdict) for sample in samples if sample.verdict]
    found.said += [*split.notes, *(f"no labels for {name}" for name in split.unlabelled())]
    for sample in samples:
        if sample.verdict is None:
            found.words += [(w.points.tolist(), w.text, w.ignore) for w in sample.payload.words]
    return found


def judge(words: list[Drawn], files: dict[str, str], found: Outcome) -> str | None:
    """Say what is wrong with an outcome: polygons that were not drawn, or words that vanished in silence."""
    if found.said:
        return None
    whole = "".join(files.values())
    drawn = {json.dumps(word.points): word for word in words}
    for word in words:  # where no outline stands any more, the box beside it is what was drawn
        if not _stands(word, whole):
            drawn[json.dumps(_corners(*word.box))] = word
    accepted = {}
    for points, text, ignore in found.words:
        once = [point for i, point in enumerate(points) if point != points[i - 1]]
        if points and json.dumps(once) not in drawn:
            return f"{points} was not drawn"
        if points:
            accepted[drawn[json.dumps(once)].text] = (text, ignore)
    for word in words:
        if word.text not in accepted:
            if _stands(word, whole):
                return f"{word.text} stands in the file and was not accepted"
            continue
        ignore = accepted[word.text][1]
        texts = [text for text, _ in accepted.values()]
        if word.text in whole and not word.ignore and not any(word.text in text for text in texts):
            return f"{word.text} stands in the file and no word has it"
        if ignore != word.ignore and _flags(whole) >= 3:
            return f"{word.text} became {ignore=}"
    return None


def _stands(word: Drawn, whole: str) -> bool:
    """Whether all coordinates of an outline still stand in the file, in their order."""
    spelled = (json.dumps(word.points), json.dumps(word.flat), ",".join(f"{value:g}" for value in word.flat))
    return any(text in whole for text in spelled)


def _corners(left: float, top: float, right: float, bottom: float) -> Polygon:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _flags(whole: str) -> int:
    """Count what marks words that are not counted, of which three were written."""
    marks = ("true", '"ignore": 1', "illegible", ",###\n", ',1,"')
    return max(whole.count(mark) for mark in marks)
