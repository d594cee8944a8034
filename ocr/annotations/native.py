"""The native format: `{"images": {file: {"words": {id: {"points": [[x, y], …], "text": …, "ignore": …}}}}}`.

UTF-8. `words` may be `null`, `{}` or `[]` (an image without text), or a list of words without ids.
A word may be `null` or lack `points` (a text that has no place). `illegibility` and `difficult` mean
`ignore`, `transcription` is another name of `text`.
`img_h` and `img_w` beside `words` state the size of the image that was labelled. Words are ordered
by id, numbers by value: the order of the keys in the file means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ocr.annotations.documents import RepeatedKeys, file_text, parse_json
from ocr.annotations.entries import Change, JsonCursor, Pieces
from ocr.annotations.labels import Labels, Remarks, keys
from ocr.annotations.primitives import (
    NO_POINTS,
    in_order,
    read_all_points,
    read_all_texts,
    read_flag,
    read_points,
    read_size,
    read_text,
)
from ocr.annotations.problems import Problems, failure, json_path, show
from ocr.annotations.words import AnnotatedImage, Word, Words

FLAGS = ("ignore", "illegibility", "difficult")
# Keys that are read; and behind the bar, those that are known to change nothing.
ENTRY = keys("words img_h img_w") | keys("paragraphs chars relations annotation_log license_tag num_patches")
WORD = keys("points text transcription").union(FLAGS) | keys("language orientation confidence")


def read(labels: Labels) -> Iterator[AnnotatedImage]:
    """Read a native JSON file; images come in the order of the file."""
    path, text = labels.path, file_text(labels.path, labels)
    try:
        yield from _read_one_by_one(labels, text)
        return
    except (ValueError, RecursionError):
        pass  # no object of images, each once: what it is instead tells who reads all of it
    document = parse_json(text, path, "")
    listed = document.get("images") if isinstance(document, dict) else None
    if not isinstance(listed, dict):
        raise failure(path, "$.images", "an object of image names", show(listed))
    labels.unread("", document, keys("images"))
    for file in list(listed):
        yield _image(labels, file, listed.pop(file))  # what was read is freed: JSON takes far more than words
    for file in getattr(listed, "repeated", ()):
        yield AnnotatedImage(file, ())


def read_changed(labels: Labels, data: bytes, change: Change) -> tuple[list[AnnotatedImage], Pieces] | None:
    """Read the entries of a file that a change put there; None where that does not tell all of the change."""
    try:
        cursor = JsonCursor(data[change.start : change.stop].decode())
        images, edges, more = _read_images(labels, cursor)
    except (ValueError, RecursionError):
        return None
    follows = not change.to_end
    whole = more == follows if images else follows or change.first == change.last
    if edges[0] or not (cursor.at_end and whole) or labels.remarks.told():  # what is told is counted over all
        return None
    return list(images.values()), Pieces.of(cursor.text, edges)


def _read_one_by_one(labels: Labels, text: str) -> Iterable[AnnotatedImage]:
    """Read a file entry by entry, which takes little memory, and remember where they stand.

    Raises ValueError or RecursionError where it is no such file, and has told nothing then.
    """
    aside, document = replace(labels, remarks=Remarks()), dict[str, Any]()
    images, edges, cursor, more = dict[str, AnnotatedImage](), list[int](), JsonCursor(text), True
    cursor.expect("{")
    while more:
        key = cursor.key()
        if key in document:
            raise ValueError(f"{key} comes again")
        document[key] = None
        if key == "images" and cursor.passes("{"):
            images, edges, _ = _read_images(aside, cursor)
            cursor.expect("}")
        else:
            document[key] = cursor.value()
        more = cursor.passes(",")
    cursor.expect("}")
    if not images or not cursor.at_end:
        raise ValueError("there is no image, or something behind them")
    labels.unread("", document, keys("images"))
    labels.remarks.add_all(aside.remarks)
    labels.pieces = Pieces.of(text, edges)
    return images.values()


def _read_images(labels: Labels, cursor: JsonCursor) -> tuple[dict[str, AnnotatedImage], list[int], bool]:
    """Read entries to the last; gives also where each begins and the last ends, and whether a comma is last.

    Raises ValueError where one comes twice.
    """
    images, edges, more = dict[str, AnnotatedImage](), [cursor.at], True
    while more and not cursor.at_end:
        file = cursor.key()
        if file in images:
            raise ValueError(f"{file} comes again")
        images[file] = _image(labels, file, cursor.value())
        more = cursor.passes(",")
        edges.append(cursor.at)
    return images, edges, more


def dump(images: Iterable[AnnotatedImage]) -> str:
    """Write images in the native format, a line each; `read` gives the same words back."""
    lines = [f"{json.dumps(image.file, ensure_ascii=False)}: {_entry(image)}" for image in images]
    return '{"images": {\n' + ",\n".join(lines) + "\n}}\n"


def _image(labels: Labels, file: str, entry: Any) -> AnnotatedImage:
    problems = Problems(str(labels.path), "$" + json_path(("images", file)))
    if not isinstance(entry, dict) or "words" not in entry:
        problems.add((), 'an object with "words"', entry)
        return AnnotatedImage(file, (), problems=problems.found())
    labels.unread("images.", entry, ENTRY)
    listed = entry["words"]
    words: Sequence[Word] = ()
    if isinstance(listed, dict):
        keyed = [(key, listed[key]) for key in in_order(listed)]
        words = _words(keyed, labels, problems)
        if isinstance(listed, RepeatedKeys):
            problems.add(("words",), "each id once", list(listed.repeated))
    elif isinstance(listed, list):
        words = _words(list(enumerate(listed)), labels, problems)
    elif listed is not None:
        problems.add(("words",), "an object of words, a list of words or null", listed)
    size = read_size(entry.get("img_h"), entry.get("img_w"))
    return AnnotatedImage(file, words, size, problems.found())


def _words(keyed: Sequence[tuple[str | int, Any]], labels: Labels, problems: Problems) -> Sequence[Word]:
    """Read the words of an image: all at once, or one by one where something has to be told."""
    plain = _plain_words([value for _, value in keyed])
    if plain is not None:
        return plain
    return tuple(_word(value, labels, problems, key) for key, value in keyed)


def _plain_words(values: Sequence[Any]) -> Words | None:
    """Read words of which nothing has to be told, in a few calls for all: there may be millions."""
    if not set(map(type, values)) <= {dict} or not all(value.keys() <= WORD for value in values):
        return None
    texts = [value.get("text") for value in values]
    texts = [
        value.get("transcription") if text is None else text
        for text, value in zip(texts, values, strict=True)
    ]
    flags = [[value[name] for name in FLAGS if name in value] for value in values]
    if not {type(flag) for found in flags for flag in found} <= {bool}:
        return None
    read = read_all_points([value.get("points") for value in values])
    encoded = read_all_texts(texts)
    if read is None or encoded is None:
        return None
    return Words.laid(*read, [any(found) for found in flags], encoded)


def _word(value: Any, labels: Labels, problems: Problems, key: str | int) -> Word:
    if value is None:
        return Word(NO_POINTS, "", False)
    if not isinstance(value, dict):
        problems.add(("words", key), "an object with points, text and ignore", value)
        return Word(NO_POINTS, "", False)
    labels.unread("words.", value, WORD)
    key_of_text = "text" if value.get("text") is not None else "transcription"
    flags = [read_flag(value[name], problems, "words", key, name) for name in FLAGS if name in value]
    return Word(
        read_points(value.get("points"), problems, "words", key, "points"),
        read_text(value.get(key_of_text), problems, "words", key, key_of_text),
        any(flags),
    )


def _entry(image: AnnotatedImage) -> str:
    words = {
        str(index): {"points": word.points.tolist(), "text": word.text, "ignore": word.ignore}
        for index, word in enumerate(image.words)
    }
    size = {} if image.size is None else {"img_h": image.size[0], "img_w": image.size[1]}
    return json.dumps({**size, "words": words}, ensure_ascii=False)
