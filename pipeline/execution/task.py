"""A task: samples of one stage, computed and left in the staging folder as finished chunks.

    <key>.<field>           the chunk of a Chunked field
    <key>.<slot>.<field>    the file of a File field
    <key>.records           what the task has finished: verdicts, checksums, small values; written last
    <any>.task              a task on its way to a worker elsewhere (`dask_calls`)

A group whose record is there is complete. Names come from what is computed, so a task that runs
twice, in a killed run and in its successor or on two workers at once, writes the same files.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.digest import digest
from pipeline.errors import PipelineError, Quarantine, WorkerLost, host
from pipeline.execution.records import Record, sample_record, verdict_record, write_records
from pipeline.execution.worker_memory import keep_freed_memory
from pipeline.files import checksum, link_or_copy, refusal, write_aside
from pipeline.stage import Chunked, Field, File, FileContent, Inputs, Stage
from pipeline.store import Store, check_field_names, check_values, encode, open_store, value_digest

ON_ITS_WAY = ".task"


@dataclass(frozen=True, slots=True)
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

    @cached_property
    def key(self) -> str:
        """Name of the group's files: the same for the same samples with the same fingerprints."""
        parts = [part for item in self.items for part in (item.sample_id.encode(), b"\0", item.fingerprint)]
        return digest(*parts).hex()


@dataclass(frozen=True)
class Task:
    """Work as plain data: a stage, where to read and write (absolute paths), and groups of samples."""

    stage: Stage
    staging: Path
    upstream: tuple[Path, ...]
    groups: tuple[Group, ...]

    @property
    def size(self) -> int:
        """Number of samples."""
        return sum(len(group.items) for group in self.groups)

    @property
    def items(self) -> tuple[Item, ...]:
        """The samples, in the order in which they are computed."""
        return tuple(item for group in self.groups for item in group.items)

    def of(self, groups: tuple[Group, ...]) -> Task:
        """Give the same work on other samples."""
        return replace(self, groups=groups)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The stage's fields."""
        return self.stage.fields()


def run_task(task: Task, tell: Callable[[], object]) -> tuple[float, dict[str, str]]:
    """Compute a task and leave its groups in the staging folder; `tell` is called as each sample begins.

    Gives the seconds spent in the stage, and by group the file of its record.
    """
    _prepare_in_worker(task.stage)
    stores = {store.stage: store for store in map(_shared_store, task.upstream)}
    seconds, records = 0.0, dict[str, Record]()
    try:
        for group in task.groups:
            spent, records[group.key] = _run_group(task, group, stores, tell)
            seconds += spent
    except OSError as error:
        where = f"{error.filename or task.staging} on {host()}"
        raise PipelineError(
            f"{task.stage.name} stopped: {refusal(error, task.staging)} ({where}); no verdict on a sample: "
            "what was published stands, and once that is mended a rerun continues from the finished chunks"
        ) from error
    finally:  # an error costs nothing that was finished before it
        files = write_records(task.staging, records)
    return seconds, files


def read_inputs(stage: Stage, stores: Mapping[str, Store], item: Item) -> tuple[Inputs, dict[int, bytes]]:
    """Read what the stage declares that it reads, each value verified.

    Gives also the values' digests by `id`: one that the stage hands on as it is has its digest already.
    """
    values: dict[str, dict[str, Any]] = {}
    digests: dict[int, bytes] = {}
    for upstream, row in zip(stage.reads, item.rows, strict=True):
        values[upstream] = {}
        for name in stage.reads[upstream]:
            value, found = stores[upstream].verified(name, row)
            values[upstream][name] = value
            digests[id(value)] = found
    return Inputs(item.sample_id, item.payload, values), digests


def compute_sample(stage: Stage, fields: Sequence[Field], inputs: Inputs) -> Mapping[str, Any]:
    """Compute one sample: a value for each of the fields, which is not held against them yet.

    Raises Quarantine, also for an exception that the stage did not foresee: one odd sample must not
    end a long run, and its verdict names the exception. Errors of the machine or the configuration pass.
    """
    try:
        outputs = stage.compute(inputs)
    except (Quarantine, PipelineError):
        raise
    except OSError as error:
        if error.errno is not None:  # the operating system's; a library's own (Pillow's) has no number
            raise
        raise _unforeseen(stage, error) from error
    except ImportError as error:
        raise PipelineError(
            f"{stage.name} cannot load what it needs ({error}); install it, or raise executor.memory"
        ) from error
    except SystemExit as error:
        raise Quarantine("stage_error", f"{stage.name} called sys.exit({error.code!r})") from error
    except MemoryError as error:
        raise Quarantine("out_of_memory", f"{stage.name} ran out of memory: {error}") from error
    except Exception as error:
        raise _unforeseen(stage, error) from error
    check_field_names(stage, fields, inputs.sample_id, outputs)
    return outputs


def _unforeseen(stage: Stage, error: Exception) -> Quarantine:
    return Quarantine("stage_error", f"{stage.name} failed with {type(error).__name__}: {error}")


def write_verdict(staging: Path, item: Item, lost: WorkerLost) -> dict[str, str]:
    """Record the verdict on a sample that took its worker; gives by its group the file of the record."""
    verdict = Quarantine(lost.code, lost.reason)
    sample = verdict_record(item.sample_id, item.fingerprint, verdict, lost.machine)
    return write_records(staging, {Group((item,)).key: {"samples": [sample], "chunks": {}}})


@lru_cache(maxsize=16)
def _prepare_in_worker(stage: Stage) -> None:
    """Prepare a stage once in a process that was started for tasks; in its own the runner has done so."""
    if multiprocessing.parent_process() is not None:
        keep_freed_memory()
        stage.prepare()


@lru_cache(maxsize=16)
def _shared_store(path: Path) -> Store:
    return open_store(path, hold=False)  # the run excludes `gc`; a worker may outlive the run


def _run_group(
    task: Task, group: Group, stores: Mapping[str, Store], tell: Callable[[], object]
) -> tuple[float, Record]:
    """Compute a group and write its chunks and files; gives seconds spent in the stage, and its record."""
    stage, seconds = task.stage, 0.0
    samples: list[dict[str, Any]] = []
    computed: list[tuple[dict[str, Any], dict[str, bytes]]] = []
    for item in group.items:
        tell()
        inputs, digests = read_inputs(stage, stores, item)
        began = time.perf_counter()
        try:
            outputs = compute_sample(stage, task.fields, inputs)
        except Quarantine as verdict:
            samples.append(verdict_record(item.sample_id, item.fingerprint, verdict))
            continue
        finally:
            seconds += time.perf_counter() - began
        values = check_values(stage, task.fields, item.sample_id, outputs)
        checks = {
            field.name: digests.get(id(outputs[field.name])) or value_digest(field, values[field.name])
            for field in task.fields
        }
        files = _write_files(task, values, checks, f"{group.key}.{len(computed)}")
        samples.append(sample_record(task.fields, item.sample_id, item.fingerprint, values, checks, files))
        computed.append((values, checks))
    return seconds, {"samples": samples, "chunks": _write_chunks(task, group, computed) if computed else {}}


def _write_chunks(
    task: Task, group: Group, computed: Sequence[tuple[Mapping[str, Any], Mapping[str, bytes]]]
) -> dict[str, tuple[int, str]]:
    """Write the chunks of samples, given values and their digests; gives sizes and checksums of the files."""
    chunks = {}
    for field in task.fields:
        if isinstance(field, Chunked):
            arrays = [values[field.name] for values, _ in computed]
            alone = len(arrays) == 1
            data = encode(field.codec, arrays[0] if alone else np.stack(arrays))  # one needs no copy
            write_aside(f"{task.staging}/{group.key}.{field.name}", data)
            # One that is stored raw is its value, whose digest is known.
            check = computed[0][1][field.name] if alone and field.codec == "none" else digest(data)
            chunks[field.name] = (len(data), check.hex())
    return chunks


def _write_files(
    task: Task, values: Mapping[str, Any], checks: Mapping[str, bytes], stem: str
) -> dict[str, Any]:
    """Write a sample's files; gives what the record says of them."""
    files = {}
    for field in task.fields:
        if isinstance(field, File):
            value: FileContent = values[field.name]
            check = checks[field.name].hex()
            files[field.name] = {"path": value.path, "size": len(value.data), "checksum": check}
            _write_content(f"{task.staging}/{stem}.{field.name}", value, check)
    return files


def _write_content(path: str, content: FileContent, wanted: str) -> None:
    """Link the file that holds the content already, or write it where that is not possible."""
    if content.link is not None:
        with suppress(FileExistsError):  # by a task before this one, or beside it
            link_or_copy(content.link, path)
        if checksum(path)[1] == wanted:
            return  # and else it was edited since it was read
    write_aside(path, content.data)
