"""Labels that were read before, kept in one file: what did not change is not parsed again.

The file holds what `read_annotations` gave, as arrays, and a key: a digest of all that decides it. That
is the bytes of every label file, the names of the files beside them and of the images, how they are to be
read, and the code that reads them. Whatever of it changes, labels are read anew; so they are where the file
is damaged, since it begins with a digest of the rest.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ocr.annotations.documents import read_bytes
from ocr.annotations.folders import image_files, walk_files
from ocr.annotations.formats import Annotations, read_annotations
from ocr.annotations.labels import PLAIN, LabelOptions
from ocr.annotations.problems import AnnotationError, Problem
from ocr.annotations.words import AnnotatedImage, Words
from pipeline.digest import DIGEST_BYTES, digest
from pipeline.files import write_aside

_LABELS = (".txt", ".csv", ".json")


def read_remembered(
    memory: Path | None, path: Path, images: Path, format: str = "auto", options: LabelOptions = PLAIN
) -> Annotations:
    """Read annotations as `read_annotations` does, or take from the file `memory` what it gave before.

    `memory` is written where its folder is there; None remembers nothing.
    """
    key = _key(path, images, format, options) if memory is not None else ""
    if memory is not None and key and (known := _load(memory, key)):
        return known
    read = read_annotations(path, images, format, options)
    # A file that was edited while it was read may have been read as it is under neither key.
    if memory is not None and memory.parent.is_dir() and key and key == _key(path, images, format, options):
        with suppress(OSError):  # one that cannot be written only costs reading again
            write_aside(memory, _dump(read, key), "record")
    return read


def _key(path: Path, images: Path, format: str, options: LabelOptions) -> str:
    """Digest all that decides what is read; nothing where labels cannot be read."""
    try:
        parts = [_code(), repr((str(path), str(path.absolute()), str(images.absolute()), format)).encode()]
        parts += [repr(astuple(options)).encode(), *_contents(path, options)]
        parts += [repr(list(image_files(images, options.follow_links))).encode()]
    except (OSError, AnnotationError):
        return ""
    return digest(*parts).hex()


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


def _dump(read: Annotations, key: str) -> bytes:
    words = [Words.of(image.words) for image in read.images]
    about = {
        "key": key,
        "format": read.format,
        "notes": read.notes,
        "images": [(image.file, image.size, list(map(astuple, image.problems))) for image in read.images],
    }
    arrays: dict[str, Any] = {
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        "lengths": np.array([(len(w), len(w.points), len(w.text)) for w in words], np.int64).reshape(-1, 3),
        "digests": np.frombuffer(b"".join(w.digest for w in words), np.uint8).reshape(-1, DIGEST_BYTES),
        "points": np.concatenate([np.empty((0, 2)), *(w.points for w in words)]),
        "extents": np.concatenate([np.empty((0, 3), np.int32), *(w.extents for w in words)]),
        "text": np.frombuffer(b"".join(w.text for w in words), np.uint8),
    }
    file = BytesIO()
    np.savez(file, **arrays)
    data = file.getbuffer()
    return digest(data) + data


def _load(memory: Path, key: str) -> Annotations | None:
    """Give what is remembered under a key, if anything is."""
    with suppress(OSError):
        data = memoryview(memory.read_bytes())
        if digest(data[DIGEST_BYTES:]) == data[:DIGEST_BYTES]:
            with np.load(BytesIO(data[DIGEST_BYTES:])) as arrays:
                about = json.loads(arrays["about"].tobytes())
                if about["key"] == key:
                    return Annotations(
                        about["format"], tuple(_images(about["images"], arrays)), tuple(about["notes"])
                    )
    return None


def _images(listed: list[Any], arrays: Any) -> Iterator[AnnotatedImage]:
    points, extents, text = arrays["points"], arrays["extents"], arrays["text"].tobytes()
    points.flags.writeable = False
    ends = np.cumsum(arrays["lengths"], axis=0).tolist()
    digests = map(bytes, arrays["digests"])
    for (file, size, problems), named, (first, last) in zip(
        listed, digests, pairwise([[0, 0, 0], *ends]), strict=True
    ):
        words = Words(
            points[first[1] : last[1]], extents[first[0] : last[0]], text[first[2] : last[2]], named
        )
        yield AnnotatedImage(
            file,
            words,
            None if size is None else tuple(size),
            tuple(Problem(*problem) for problem in problems),
        )
