"""Reading annotation files as text or JSON: size, encoding and syntax are checked here."""

from __future__ import annotations

import gc
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ocr.annotations.problems import failure

MAX_BYTES = 2 << 30  # a JSON file takes about ten times its size in memory while it is read


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


def read_lines(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Read lines of text, and remarks about the encoding: UTF-8 (a BOM is dropped), otherwise Latin-1.

    Lines end at LF, CR LF or CR only: `str.splitlines` would cut transcripts at U+2028 and others.
    """
    data = read_bytes(path)
    notes: tuple[str, ...] = ()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        notes = (f"{path.name} is not UTF-8 and was read as Latin-1",)
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), notes


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8 (with or without BOM), or raise `AnnotationError`."""
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise failure(path, f"byte {error.start}", "UTF-8", f"the byte 0x{data[error.start]:02x}") from error
    return parse_json(text, path, "")


def parse_json(text: str, path: Path, start: str) -> Any:
    """Parse JSON; objects with repeated keys become `RepeatedKeys`.

    `start` (`line 3: `) begins the place that an error names.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        line = "" if start else f"line {error.lineno} "
        raise failure(path, f"{start}{line}column {error.colno}", "JSON", error.msg) from error
    except RecursionError as error:
        raise failure(path, f"{start}the file", "JSON nested less deeply", "over 900 levels") from error
    except ValueError as error:  # an integer longer than Python will convert
        raise failure(path, f"{start}the file", "numbers of a sensible length", str(error)) from error


@contextmanager
def collector_paused() -> Iterator[None]:
    """Look for no cycles meanwhile: among a million objects without any that is half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    keys = [key for key, _ in pairs]
    repeated = RepeatedKeys(value)
    repeated.repeated = tuple(key for key in value if keys.count(key) > 1)
    return repeated
