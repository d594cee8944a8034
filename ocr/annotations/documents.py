"""Reading annotation files as text or JSON: size, encoding and syntax are checked here."""

from __future__ import annotations

import codecs
import json
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from ocr.annotations.labels import Labels
from ocr.annotations.problems import failure

MAX_BYTES = 2 << 30  # a JSON file that is read at once takes about ten times its size in memory


class RepeatedKeys(dict[str, Any]):
    """A JSON object in which some key came more than once: the last value counts, `repeated` has the keys."""

    repeated: tuple[str, ...] = ()


def read_bytes(path: Path) -> bytes:
    """Read a whole annotation file, or raise `AnnotationError`; a pipe or a device is not waited for."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise failure(path, "the file", "a regular file", "a folder, a pipe or a device")
        if status.st_size > MAX_BYTES:
            raise failure(path, "the file", f"at most {MAX_BYTES:,} bytes", f"{status.st_size:,}")
        return path.read_bytes()
    except OSError as error:
        raise failure(path, "the file", "a readable file", error.strerror or str(error)) from error


def read_lines(path: Path, labels: Labels) -> list[str]:
    """Read lines of text: in the split's encoding, otherwise UTF-8, otherwise Latin-1, which is told.

    Lines end at LF, CR LF or CR only: `str.splitlines` would cut transcripts at U+2028 and others.
    """
    text = file_text(path, labels, fallback="latin-1").replace("\r\n", "\n").replace("\r", "\n")
    if "\n\ufeff" in text:
        labels.remarks.add(
            path.name, "has byte order marks in its middle, as joined files do; they were dropped"
        )
        text = text.replace("\n\ufeff", "\n")
    return text.split("\n")


def read_json(path: Path, labels: Labels) -> Any:
    """Read a JSON file in UTF-8 or the split's encoding, or raise `AnnotationError`."""
    return parse_json(file_text(path, labels), path, "")


def file_text(path: Path, labels: Labels, fallback: str | None = None) -> str:
    """Read a file as text, without its byte order mark, or raise `AnnotationError`."""
    data = read_bytes(path)
    encoding = labels.options.encoding
    if encoding is None and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
        labels.remarks.add(path.name, "was read as UTF-16, as its first bytes say")
    try:
        return data.decode(encoding or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if fallback is None or encoding is not None:
            found = f"the byte 0x{data[error.start]:02x}; data.splits.<split>.encoding names another encoding"
            raise failure(path, f"byte {error.start}", encoding or "UTF-8", found) from error
    labels.remarks.add(path.name, "is not UTF-8 and was read as Latin-1")
    return data.decode(fallback)


def parse_json(text: str, path: Path, start: str) -> Any:
    """Parse JSON; objects with repeated keys become `RepeatedKeys`.

    `start` (`line 3: `) begins the place that an error names.
    """
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        line = "" if start else f"line {error.lineno} "
        mark = (
            "; a byte order mark stands there, as in joined files"
            if text[error.pos : error.pos + 1] == "\ufeff"
            else ""
        )
        expected = f"JSON ({error.msg[:1].lower()}{error.msg[1:]})"
        there = text[error.pos : error.pos + 20]
        found = repr(there) + mark if there else "the end"
        raise failure(path, f"{start}{line}column {error.colno}", expected, found) from error
    except RecursionError as error:
        raise failure(path, f"{start}the file", "JSON nested less deeply", "over 900 levels") from error
    except ValueError as error:  # an integer longer than Python will convert
        raise failure(path, f"{start}the file", "numbers of a sensible length", str(error)) from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its members: a `RepeatedKeys` where a key comes more than once."""
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    counts = Counter(key for key, _ in pairs)
    repeated = RepeatedKeys(value)
    repeated.repeated = tuple(key for key in value if counts[key] > 1)
    return repeated
