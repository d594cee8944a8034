"""A pipeline of three cheap stages over text files, with every kind of field."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pipeline import failpoints
from pipeline.digest import digest
from pipeline.errors import Quarantine
from pipeline.execution import Executor, ExecutorConfig
from pipeline.maintenance import Repair, repair_stage, verify_store
from pipeline.planning import FileHashes, Outlook, Pipeline, SourceSample, survey
from pipeline.runner import Builder, StageResult, run_stages
from pipeline.stage import Chunked, Field, File, FileContent, Inputs, Ragged, Row, Stage, Text
from pipeline.workspace import Workspace
from tests.support.poison import POISONS

SIDE = 8
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
RUN_POINTS = [point for point in failpoints.POINTS if point != "gc.unlink"]
TEXTS = {"a": "one\ntwo", "b": "12345", "c": "bad luck", "d": "a longer line of text", "e": ""}


class Read(Stage):
    """Reads a text file; lines are the parts of a ragged field."""

    name = "read"
    version = 1
    store = "read.zarr"
    upper: bool = False

    def fields(self) -> tuple[Field, ...]:
        return (
            File("copy", "copies"),
            Row("length", "int32"),
            Ragged("lines", "uint8", levels=2),
            Ragged("words", "int16"),
            Text("kind", tally=True),
        )

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        path = inputs.source
        data = path.read_bytes()
        text = data.decode()
        if text.startswith("bad"):
            raise Quarantine("bad", f"{inputs.sample_id} starts with bad")
        if text.startswith("odd"):
            raise ValueError("the stage did not foresee this")
        POISONS.get(text.partition(" ")[0], int)()
        if self.upper:
            text = text.upper()
        return {
            "copy": FileContent(inputs.sample_id, data, path),
            "length": np.array(len(text), dtype=np.int32),
            "lines": [np.frombuffer(line.encode(), dtype=np.uint8) for line in text.splitlines()],
            "words": np.array([len(word) for word in text.split()], dtype=np.int16),
            "kind": "digits" if text.strip().isdigit() else "letters long@3" if len(text) > 9 else "letters",
        }


class Paint(Stage):
    """Paints a picture of the lines."""

    name = "paint"
    version = 1
    store = "paint.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {"read": ("lines",)}
    ink: int = 1

    def fields(self) -> tuple[Field, ...]:
        return (Chunked("picture", "uint8", (1, SIDE, SIDE)), Chunked("shade", "float16", (1, SIDE, SIDE)))

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        picture = np.zeros((1, SIDE, SIDE), dtype=np.uint8)
        for number, line in enumerate(inputs.values["read"]["lines"]):
            picture[0, number % SIDE, : len(line)] = self.ink
        return {"picture": picture, "shade": np.full((1, SIDE, SIDE), picture.mean(), dtype=np.float16)}


class Pack(Stage):
    """Brings both together for reading."""

    name = "pack"
    version = 1
    store = "pack.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "read": ("length", "words"),
        "paint": ("picture", "shade"),
    }

    def fields(self) -> tuple[Field, ...]:
        return (
            Chunked("picture", "uint8", (1, SIDE, SIDE), codec="none"),
            Chunked("shade", "float16", (1, SIDE, SIDE), codec="none"),
            Row("length", "int32"),
            Ragged("words", "int16"),
        )

    def attributes(self) -> Mapping[str, Any]:
        return {"mean": [0.5]}

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        return {**inputs.values["paint"], **inputs.values["read"]}


STAGES = ("read", "paint", "pack")


@dataclass
class TextSource:
    """Files of a folder in the order of their names."""

    folder: Path

    def samples(self, hashes: FileHashes) -> Sequence[SourceSample]:
        found = []
        for path in sorted(self.folder.glob("*.txt")):
            if path.stat().st_size == 0:
                verdict = Quarantine("empty", f"{path.name} is empty")
                found.append(SourceSample(path.name, {}, verdict=verdict))
            else:
                inputs = {"text": hashes(path), "name": digest(path.suffix.encode())}
                found.append(SourceSample(path.name, inputs, path))
        return found


class Silent:
    """A reporter that counts what it is told."""

    def __init__(self) -> None:
        self.advanced: dict[str, int] = {}

    def begin(self, split: str, stage: str, samples: int) -> Callable[[int], None]:
        def advance(count: int) -> None:
            self.advanced[stage] = self.advanced.get(stage, 0) + count

        return advance


def make_pipeline(raw: Path, work: Path, **parameters: Any) -> Pipeline:
    """Build the toy pipeline over the text files of `raw`."""
    stages = (
        Read(upper=parameters.get("upper", False)),
        Paint(ink=parameters.get("ink", 1)),
        Pack(),
    )
    workspace = Workspace(work, "val")
    hashes = FileHashes(workspace.folder / ".hashes", raw, parameters.get("rehash", False))
    return Pipeline(workspace, stages, TextSource(raw), hashes, parameters.get("retry", False))


def run(
    raw: Path,
    work: Path,
    names: Sequence[str] = STAGES,
    executor: ExecutorConfig | None = None,
    **parameters: Any,
) -> dict[str, StageResult]:
    """Run stages of the toy pipeline; gives the result of each."""
    config = executor or ExecutorConfig(kind="serial")
    with Executor(config) as chosen:
        return dict(run_stages(make_pipeline(raw, work, **parameters), names, chosen, Silent()))


def repair(raw: Path, work: Path, name: str) -> Repair:
    """Repair a store of the toy pipeline."""
    pipeline = make_pipeline(raw, work)
    with Executor(ExecutorConfig(kind="serial")) as executor:
        return repair_stage(outlook(pipeline, name), Builder(executor, Silent(), pipeline.hashes))


def exit_code(script: str, raw: Path, work: Path) -> int | None:
    """Run the toy pipeline in a child process with a scripted fault; gives its exit code."""
    child = CONTEXT.Process(target=_run_scripted, args=(script, raw, work))
    child.start()
    child.join()
    return child.exitcode


def _run_scripted(script: str, raw: Path, work: Path) -> None:
    failpoints.arm(script)
    run(raw, work)


def computed_by(stage: type[Stage], patch: pytest.MonkeyPatch) -> list[str]:
    """Names of the samples that a stage computes from here on."""
    names: list[str] = []
    compute = stage.compute

    def compute_and_tell(self: Stage, inputs: Inputs) -> Mapping[str, Any]:
        names.append(inputs.sample_id)
        return compute(self, inputs)

    patch.setattr(stage, "compute", compute_and_tell)
    return names


def outlook(pipeline: Pipeline, name: str) -> Outlook:
    """Look at one stage."""
    return next(found for found in survey(pipeline) if found.stage.name == name)


def write(folder: Path, **texts: str) -> None:
    """Write text files, as new files where they exist: `write(raw, a="one")` makes a.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").unlink(missing_ok=True)
        (folder / f"{name}.txt").write_text(text)


def tree(store: Path) -> dict[str, bytes]:
    """Every file of a store with its bytes."""
    root = store.resolve()
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def edit(raw: Path) -> None:
    """Edit a text, add one, and mend one that is quarantined."""
    write(raw, a="edited\nlines", bb="new", c="good luck")


def clean_digests(raw: Path, work: Path) -> dict[str, str]:
    """Digests of the stages, built from nothing."""
    return {name: result.digest for name, result in run(raw, work).items()}


def assert_published_is_whole(work: Path) -> None:
    """Hold every published store against its checksums."""
    for name in STAGES:
        path = work / f"val/{name}.zarr"
        if path.exists():
            assert verify_store(path).passed


def same_as_clean(raw: Path, tmp_path: Path, **parameters: object) -> None:
    """Incremental = clean build, byte for byte."""
    clean = tmp_path / "clean"
    run(raw, clean, **parameters)
    for name in STAGES:
        assert tree(tmp_path / f"work/val/{name}.zarr") == tree(clean / f"val/{name}.zarr")
    shutil.rmtree(clean)
