"""What a worker on another machine must have in common with a run before it is given a task."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pipeline
from pipeline.digest import digest
from pipeline.errors import host
from pipeline.files import checksum, write_aside
from pipeline.planning import recipe_changes, recipe_of
from pipeline.stage import Stage
from pipeline.store import codec_versions


@dataclass(frozen=True)
class Handshake:
    """What the run has: its engine, a stage with its recipe, its codecs, a file in its folder, a raw file.

    `raw_file` is a path and the checksum that it had there, where the run has looked at any.
    """

    engine: str
    stage: Stage
    recipe: Mapping[str, Any]
    codecs: Mapping[str, str]
    folder: Path
    nonce: str
    raw_file: tuple[Path, str] | None


@dataclass(frozen=True)
class Answer:
    """Where a worker is, what it lacks, and the file that it left in the run's folder."""

    host: str
    problems: tuple[str, ...]
    left: str = ""


def offer(stage: Stage, folder: Path, raw_file: tuple[Path, str] | None) -> Handshake:
    """Offer a handshake for one stage, over a folder that exists; a worker `answer`s it."""
    nonce = uuid.uuid4().hex
    write_aside(folder / f"{nonce}.offer", nonce.encode(), "handshake")
    return Handshake(engine(), stage, recipe_of(stage), codec_versions(), folder, nonce, raw_file)


def answer(offered: Handshake, tell: Callable[[], object]) -> Answer:
    """Compare, on the worker, what it has with what the run has."""
    left = f"{offered.nonce}.{host()}-{os.getpid()}.answer"
    problems = [*_differences(offered), *_folder_problems(offered, left)]
    if offered.raw_file is not None:
        problems += _raw_file_problems(*offered.raw_file)
    return Answer(host(), tuple(problems), left)


def accept(offered: Handshake, answered: Answer) -> tuple[str, ...]:
    """Give what keeps a worker from being used: what it said, or that its file cannot be seen here."""
    if answered.problems:
        return answered.problems
    left = offered.folder / answered.left
    try:
        found = left.read_text()
    except OSError as error:
        return (f"what it writes into {offered.folder} does not arrive here ({error.strerror})",)
    return () if found == offered.nonce[::-1] else (f"{left} holds something else than it wrote",)


@lru_cache(maxsize=1)
def engine() -> str:
    """Name the engine's version by its source: two checkouts may call themselves alike."""
    folder = Path(pipeline.__file__).parent
    sources = sorted(folder.rglob("*.py"))
    return digest(*(path.read_bytes() for path in sources)).hex()[:12]


def _differences(offered: Handshake) -> Iterator[str]:
    """Say which versions differ, as `what here → there`."""
    if engine() != offered.engine:
        yield f"version of the engine {offered.engine} → {engine()}"
    yield from recipe_changes(offered.recipe, recipe_of(offered.stage))
    there = codec_versions()
    for name, version in offered.codecs.items():
        if there.get(name) != version:
            yield f"{name} {version} → {there.get(name)}"


def _folder_problems(offered: Handshake, left: str) -> Iterator[str]:
    """Read what the run wrote into its folder, and leave it an answer."""
    try:
        if (offered.folder / f"{offered.nonce}.offer").read_text() != offered.nonce:
            yield f"{offered.folder} is another folder there"
        write_aside(offered.folder / left, offered.nonce[::-1].encode(), "handshake")
    except OSError as error:
        yield f"{offered.folder} cannot be used there ({error.strerror}: {error.filename})"


def _raw_file_problems(path: Path, wanted: str) -> Iterator[str]:
    try:
        found = checksum(path)[1]
    except OSError as error:
        yield f"{path} cannot be read there ({error.strerror})"
        return
    if found != wanted:
        yield f"{path} has the checksum {wanted} here and {found} there"
