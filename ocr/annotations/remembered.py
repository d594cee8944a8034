"""Labels that were read before, kept in one file: what did not change is not parsed again.

The file holds what `read_annotations` gave, as arrays, and a key: a digest of all that decides it. That
is the bytes of every label file, the names of the files beside them and of the images, how they are to be
read, and the code that reads them. Whatever of it changes, labels are read anew: of a file that was edited
the entries that differ, where these tell. They are read anew also where the memory is damaged, since it
begins with a digest of the rest.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr.annotations.documents import read_bytes
from ocr.annotations.entries import Pieces
from ocr.annotations.folders import image_files, walk_files
from ocr.annotations.formats import Annotations, read_annotations, read_edited
from ocr.annotations.labels import PLAIN, LabelOptions
from ocr.annotations.problems import AnnotationError, Problem
from ocr.annotations.words import AnnotatedImage, Words
from pipeline.digest import DIGEST_BYTES, digest
from pipeline.files import write_aside

_LABELS = (".txt", ".csv", ".json")
_KIND = b"labels2\n"
"""What follows the digest; the number goes up when the memory is spelled otherwise."""
_NO_PIECES = Pieces(np.empty(0, np.int64), np.empty((0, DIGEST_BYTES), np.uint8))


def read_remembered(
    memory: Path | None, path: Path, images: Path, format: str = "auto", options: LabelOptions = PLAIN
) -> Annotations:
    """Read annotations as `read_annotations` does, or take from the file `memory` what it gave before.

    `memory` is written where its folder is there; None remembers nothing.
    """
    if memory is None:
        return read_annotations(path, images, format, options)
    how = _how(path, images, format, options)
    key = _key(how, path, images, options)
    known = _load(memory)
    if known and key and known.key == key:
        return known.labels
    edited = known is not None and known.how == how and read_edited(known.labels, path, images, options)
    read = edited or read_annotations(path, images, format, options)
    # A file that was edited while it was read may have been read as it is under neither key.
    if memory.parent.is_dir() and key and key == _key(how, path, images, options):
        with suppress(OSError):  # one that cannot be written only costs reading again
            write_aside(memory, _dump(read, how, key), "record")
    return read


def _how(path: Path, images: Path, format: str, options: LabelOptions) -> str:
    """Digest what decides how labels are read, whatever is in them."""
    places = repr((str(path), str(path.absolute()), str(images.absolute()), format))
    return digest(_code(), places.encode(), repr(astuple(options)).encode()).hex()


def _key(how: str, path: Path, images: Path, options: LabelOptions) -> str:
    """Digest all that decides what is read; nothing where labels cannot be read."""
    try:
        names = repr(list(image_files(images, options.follow_links)))
        return digest(how.encode(), *_contents(path, options), names.encode()).hex()
    except (OSError, AnnotationError):
        return ""


def _contents(path: Path, options: LabelOptions) -> Iterator[bytes]:
    """Give the name of every file of the labels, where a link leads, and the digest of what is read."""
    for name in walk_files(path, options.follow_links) if path.is_dir() else [""]:
        file = f"{path}/{name}" if name else str(path)
        link = os.path.realpath(file) if os.path.islink(file) else ""  # noqa: PTH114
        yield repr((name, link)).encode()
        if not name or name.lower().endswith(_LABELS):
            yield digest(read_bytes(Path(file)))


@cache
def _code() -> bytes:
    """Digest the code that reads labels, and the versions below it that could decide what it gives."""
    sources = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return digest(*sources, f"{platform.python_version()} {np.__version__}".encode())


@dataclass(frozen=True)
class _Remembered:
    how: str
    key: str
    labels: Annotations


def _dump(read: Annotations, how: str, key: str) -> bytes:
    """Spell what was read: a digest of the rest, a mark, the size of a head, the head as JSON, and arrays."""
    words = [Words.of(image.words) for image in read.images]
    pieces = read.pieces or _NO_PIECES
    arrays: dict[str, NDArray[Any]] = {
        "lengths": np.array([(len(w), len(w.points), len(w.text)) for w in words], np.int64).reshape(-1, 3),
        "points": np.concatenate([np.empty((0, 2)), *(w.points for w in words)]),
        "sizes": pieces.sizes,
        "extents": np.concatenate([np.empty((0, 3), np.int32), *(w.extents for w in words)]),
        "digests": np.frombuffer(b"".join(w.digest for w in words), np.uint8),
        "pieces": pieces.digests,
        "text": np.frombuffer(b"".join(w.text for w in words), np.uint8),
    }
    head = {
        "how": how,
        "key": key,
        "format": read.format,
        "notes": read.notes,
        "images": [(image.file, image.size, list(map(astuple, image.problems))) for image in read.images],
        "arrays": {name: (array.dtype.str, array.shape) for name, array in arrays.items()},
    }
    spelled = json.dumps(head).encode()
    spelled += b" " * (-len(spelled) % 8)  # arrays are aligned: those of the largest items come first
    parts = [
        _KIND,
        len(spelled).to_bytes(8, "little"),
        spelled,
        *(array.tobytes() for array in arrays.values()),
    ]
    return b"".join((digest(*parts), *parts))


def _load(memory: Path) -> _Remembered | None:
    """Give what is remembered, if anything is; arrays lie in what was read."""
    with suppress(OSError):
        data = memoryview(memory.read_bytes())
        start, size, at = DIGEST_BYTES, DIGEST_BYTES + len(_KIND), DIGEST_BYTES + len(_KIND) + 8
        if data[start:size] == _KIND and digest(data[start:]) == data[:start]:
            end = at + int.from_bytes(data[size:at], "little")
            head, arrays = json.loads(bytes(data[at:end])), dict[str, NDArray[Any]]()
            for name, (dtype, shape) in head["arrays"].items():
                count = int(np.prod(shape))
                arrays[name] = np.frombuffer(data, dtype, count, end).reshape(shape)
                end += arrays[name].nbytes
            pieces = Pieces(arrays["sizes"], arrays["pieces"]) if len(arrays["sizes"]) else None
            images = tuple(_images(head["images"], arrays))
            labels = Annotations(head["format"], images, tuple(head["notes"]), pieces)
            return _Remembered(head["how"], head["key"], labels)
    return None


def _images(listed: list[Any], arrays: Mapping[str, NDArray[Any]]) -> Iterator[AnnotatedImage]:
    points, extents, text = arrays["points"], arrays["extents"], arrays["text"].tobytes()
    named, at = arrays["digests"].tobytes(), 0
    ends = np.cumsum(arrays["lengths"], axis=0).tolist()
    for (file, size, problems), (first, last) in zip(listed, pairwise([[0, 0, 0], *ends]), strict=True):
        words = Words(
            points[first[1] : last[1]],
            extents[first[0] : last[0]],
            text[first[2] : last[2]],
            named[at : at + DIGEST_BYTES],
        )
        at += DIGEST_BYTES
        yield AnnotatedImage(
            file,
            words,
            None if size is None else tuple(size),
            tuple(Problem(*problem) for problem in problems) if problems else (),
        )
