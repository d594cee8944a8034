"""A task: samples of one stage, computed and left in the staging folder as finished chunks.

    <key>.<field>          the chunk of a Chunked field
    <key>.<slot>.<field>   the file of a File field
    <key>.json             the record: verdicts, checksums, small values; written last

A group whose record is there is complete. Names come from what is computed, so a task that runs
twice, in a killed run and in its successor or on two workers at once, writes the same files.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.codec import encode
from pipeline.digest import canonical_json, digest
from pipeline.errors import PipelineError, Quarantine
from pipeline.files import TEMPORARY, link_or_copy, write_aside
from pipeline.manifest import checksum
from pipeline.recipe import recipe_digest, recipe_of
from pipeline.stage import Chunked, File, FileContent, Inputs, Stage
from pipeline.store import Store, open_store
from pipeline.values import check_outputs, to_record, value_digest

# Verdicts that may be the machine's fault; they are remembered like the others, until `--retry`.
MACHINE_CODES = frozenset({"crashed", "timed_out", "out_of_memory", "stage_error"})


@dataclass(frozen=True)
class Item:
    """One sample of a task: its payload (first stage) and its rows in the stores upstream."""

    sample_id: str
    fingerprint: bytes
    payload: Any
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Samples that share a chunk."""

    items: tuple[Item, ...]

    @property
    def key(self) -> str:
        """Name of the group's files: the same for the same samples with the same fingerprints."""
        parts = [part for item in self.items for part in (item.sample_id.encode(), b"\0", item.fingerprint)]
        return digest(*parts).hex()


@dataclass(frozen=True)
class Task:
    """Work as plain data: a stage, where to read and write, and groups of samples.

    `recipe` is the digest of the stage's recipe where the plan was made: a worker with other
    libraries must not write under it.
    """

    stage: Stage
    staging: Path
    upstream: tuple[Path, ...]
    groups: tuple[Group, ...]
    recipe: str

    @property
    def size(self) -> int:
        """Number of samples."""
        return sum(len(group.items) for group in self.groups)


def run_task(task: Task) -> float:
    """Compute a task and leave its groups in the staging folder; gives seconds spent in the stage."""
    if _own_recipe(task.stage) != task.recipe:
        raise PipelineError(
            f"a worker's libraries for {task.stage.name} differ from those of the run "
            f"(it has {dict(task.stage.libraries())}); install the same versions on all workers"
        )
    stores = {store.stage: store for store in map(_shared_store, task.upstream)}
    return sum(_run_group(task.stage, group, stores, task.staging) for group in task.groups)


def read_inputs(stage: Stage, stores: Mapping[str, Store], item: Item) -> Inputs:
    """Read what the stage declares that it reads, each value verified."""
    values = {
        upstream: {name: stores[upstream].value(name, row) for name in stage.reads[upstream]}
        for upstream, row in zip(stage.reads, item.rows, strict=True)
    }
    return Inputs(item.sample_id, item.payload, values)


def compute_sample(stage: Stage, inputs: Inputs) -> dict[str, Any]:
    """Compute and check one sample.

    Raises Quarantine, also for an exception that the stage did not foresee: one odd sample must not
    end a long run, and its verdict names the exception. Errors of the machine or the configuration pass.
    """
    try:
        outputs = stage.compute(inputs)
    except (Quarantine, OSError, PipelineError):
        raise
    except ImportError as error:
        raise PipelineError(
            f"{stage.name} cannot load what it needs ({error}); install it, or raise executor.memory"
        ) from error
    except MemoryError as error:
        raise Quarantine("out_of_memory", f"{stage.name} ran out of memory: {error}") from error
    except Exception as error:
        raise Quarantine(
            "stage_error", f"{stage.name} failed with {type(error).__name__}: {error}"
        ) from error
    return check_outputs(stage, inputs.sample_id, outputs)


def write_verdict(staging: Path, item: Item, code: str, reason: str) -> None:
    """Record a verdict on a sample that no worker survived."""
    record = {"samples": [_verdict(item, Quarantine(code, reason))], "chunks": {}}
    write_aside(staging / f"{Group((item,)).key}.json", canonical_json(record), "record")


def read_record(staging: Path, key: str) -> dict[str, Any] | None:
    """Read the record of a finished group, or give None where it is missing."""
    try:
        return dict(json.loads((staging / f"{key}.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def read_finished(staging: Path, key: str) -> dict[str, Any] | None:
    """Read the record of a group that an earlier run finished, or give None where it is not whole.

    Its files were never synced, so each is held against its checksum: a power cut may have emptied it.
    """
    record = read_record(staging, key)
    if record is None:
        return None
    try:
        files = {f"{key}.{name}": tuple(entry) for name, entry in record["chunks"].items()}
        for slot, sample in enumerate(s for s in record["samples"] if not s["verdict"]):
            for name, entry in sample["files"].items():
                files[f"{key}.{slot}.{name}"] = (entry["size"], sample["checksums"][name])
        return record if all(checksum(staging / name) == entry for name, entry in files.items()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=16)
def _own_recipe(stage: Stage) -> str:
    """Digest of a stage's recipe with the libraries of this process, which do not change."""
    return recipe_digest(recipe_of(stage))


@lru_cache(maxsize=16)
def _shared_store(path: Path) -> Store:
    return open_store(path, hold=False)  # the run excludes `gc`; a worker may outlive the run


def _run_group(stage: Stage, group: Group, stores: Mapping[str, Store], staging: Path) -> float:
    samples: list[dict[str, Any]] = []
    computed: list[dict[str, Any]] = []
    seconds = 0.0
    for item in group.items:
        inputs = read_inputs(stage, stores, item)
        began = time.perf_counter()
        try:
            outputs = compute_sample(stage, inputs)
        except Quarantine as verdict:
            samples.append(_verdict(item, verdict))
            continue
        finally:
            seconds += time.perf_counter() - began
        slot = len(computed)
        computed.append(outputs)
        samples.append(_describe(stage, item, outputs, staging / f"{group.key}.{slot}"))
    chunks = _write_chunks(stage, computed, staging / group.key) if computed else {}
    record = {"samples": samples, "chunks": chunks}
    write_aside(staging / f"{group.key}.json", canonical_json(record), "record")
    return seconds


def _write_chunks(stage: Stage, computed: Sequence[Mapping[str, Any]], stem: Path) -> dict[str, Any]:
    chunks = {}
    for field in stage.fields():
        if isinstance(field, Chunked):
            values = [outputs[field.name] for outputs in computed]
            stacked = np.stack(values) if len(values) > 1 else values[0][None]  # one needs no copy
            data = encode(field.codec, stacked)
            write_aside(stem.with_name(f"{stem.name}.{field.name}"), data)
            chunks[field.name] = (len(data), digest(data).hex())
    return chunks


def _describe(stage: Stage, item: Item, outputs: Mapping[str, Any], stem: Path) -> dict[str, Any]:
    values, files, checksums = {}, {}, {}
    for field in stage.fields():
        value = outputs[field.name]
        checksums[field.name] = value_digest(field, value).hex()
        if isinstance(field, File):
            _write_content(stem.with_name(f"{stem.name}.{field.name}"), value, checksums[field.name])
            files[field.name] = {"path": value.path, "size": len(value.data)}
        elif not isinstance(field, Chunked):
            values[field.name] = to_record(field, value)
    return {
        "id": item.sample_id,
        "fingerprint": item.fingerprint.hex(),
        "verdict": None,
        "values": values,
        "files": files,
        "checksums": checksums,
    }


def _write_content(path: Path, content: FileContent, wanted: str) -> None:
    """Link the file that holds the content already, or write it where that is not possible."""
    if content.link is not None:
        aside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_native_id()}{TEMPORARY}")
        aside.unlink(missing_ok=True)
        link_or_copy(content.link, aside)
        if checksum(aside)[1] == wanted:
            aside.replace(path)
            aside.unlink(missing_ok=True)  # renaming one link of a file over another leaves both
            return
        aside.unlink()  # edited since it was read
    write_aside(path, content.data)


def _verdict(item: Item, verdict: Quarantine) -> dict[str, Any]:
    return {
        "id": item.sample_id,
        "fingerprint": item.fingerprint.hex(),
        "verdict": {"code": verdict.code, "reason": verdict.reason},
    }
