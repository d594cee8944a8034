"""A task: samples of one stage, computed and left in the staging folder as finished chunks.

    <plan>/<field>/c.7.0.0   the chunk of a Chunked field, under its name in the generation
    <key>.<slot>.<field>     the file of a File field
    <any>.records            a line per group: verdicts, checksums, small values; written last

A group whose record is there is complete. Names come from what is computed, so a task that runs
twice, in a killed run and in its successor or on two workers at once, writes the same files.
A plan has a folder of its own, since in another plan the same chunk holds other samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.codec import encode
from pipeline.digest import digest
from pipeline.errors import PipelineError, Quarantine
from pipeline.files import link_or_copy, write_aside
from pipeline.manifest import checksum
from pipeline.recipe import recipe_digest, recipe_of
from pipeline.records import Record, record_file, verdict_record
from pipeline.stage import Chunked, Field, File, FileContent, Inputs, Stage
from pipeline.store import Store, open_store
from pipeline.values import check_names, check_values, value_digest, value_parts
from pipeline.zarr_format import chunk_key

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
    """Samples that share a chunk: the `number`th of the generation, were no sample quarantined.

    Half a group, in search of the sample that its worker is lost over, has no number.
    """

    items: tuple[Item, ...]
    number: int | None = None

    @cached_property
    def key(self) -> str:
        """Name of the group's files: the same for the same samples with the same fingerprints."""
        parts = [part for item in self.items for part in (item.sample_id.encode(), b"\0", item.fingerprint)]
        return digest(*parts).hex()

    def chunk_file(self, field: Chunked) -> str:
        """Name of its chunk in the field's folder."""
        return self.key if self.number is None else chunk_key(self.number, 1 + len(field.shape))


@dataclass(frozen=True)
class Task:
    """Work as plain data: a stage, where to read and write, and groups of samples.

    `folder` is the plan's in the staging folder. `recipe` is the digest of the stage's recipe where
    the plan was made: a worker with other libraries must not write under it.
    """

    stage: Stage
    staging: Path
    folder: str
    upstream: tuple[Path, ...]
    groups: tuple[Group, ...]
    recipe: str

    @property
    def size(self) -> int:
        """Number of samples."""
        return sum(len(group.items) for group in self.groups)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The stage's fields."""
        return self.stage.fields()

    @cached_property
    def large(self) -> list[Field]:
        """Fields whose values are files, or in chunk files."""
        return [field for field in self.fields if isinstance(field, Chunked | File)]

    @cached_property
    def small(self) -> list[Field]:
        """Fields whose values are in the records."""
        return [field for field in self.fields if not isinstance(field, Chunked | File)]


def run_task(task: Task) -> tuple[float, dict[str, Record]]:
    """Compute a task and leave its groups in the staging folder.

    Gives the seconds spent in the stage, and the groups' records by key.
    """
    if _own_recipe(task.stage) != task.recipe:
        raise PipelineError(
            f"a worker's libraries for {task.stage.name} differ from those of the run "
            f"(it has {dict(task.stage.libraries())}); install the same versions on all workers"
        )
    stores = {store.stage: store for store in map(_shared_store, task.upstream)}
    seconds = 0.0
    with record_file(task.staging) as records:
        for group in task.groups:
            spent, make_record = _run_group(task, group, stores)
            records.add(group.key, make_record)
            seconds += spent
    return seconds, records.written


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
    check_names(stage, fields, inputs.sample_id, outputs)
    return outputs


def write_verdict(staging: Path, item: Item, verdict: Quarantine) -> dict[str, Record]:
    """Record a verdict on a sample that no worker survived; gives the record by its group's key."""
    key = Group((item,)).key
    record = {"samples": [verdict_record(item.sample_id, item.fingerprint, verdict)], "chunks": {}}
    with record_file(staging) as records:
        records.add(key, lambda: record)
    return records.written


@lru_cache(maxsize=16)
def _own_recipe(stage: Stage) -> str:
    """Digest of a stage's recipe with the libraries of this process, which do not change."""
    return recipe_digest(recipe_of(stage))


@lru_cache(maxsize=16)
def _shared_store(path: Path) -> Store:
    return open_store(path, hold=False)  # the run excludes `gc`; a worker may outlive the run


@dataclass(frozen=True)
class _Computed:
    """A sample whose chunks and files are written: its small values, and digests of the others by field."""

    item: Item
    small: Mapping[str, Any]
    files: Mapping[str, Any]
    checks: dict[str, bytes]


def _run_group(task: Task, group: Group, stores: Mapping[str, Store]) -> tuple[float, Callable[[], Record]]:
    """Compute a group and write its chunks and files; gives seconds spent, and what makes its record."""
    stage = task.stage
    samples: list[_Computed | dict[str, Any]] = []
    computed: list[tuple[dict[str, Any], dict[str, bytes]]] = []
    stem = f"{task.staging}/{group.key}"
    seconds = 0.0
    for item in group.items:
        inputs, digests = read_inputs(stage, stores, item)
        began = time.perf_counter()
        try:
            outputs = compute_sample(stage, task.fields, inputs)
        except Quarantine as verdict:
            samples.append(verdict_record(item.sample_id, item.fingerprint, verdict))
            continue
        finally:
            seconds += time.perf_counter() - began
        checks = {name: digests[id(value)] for name, value in outputs.items() if id(value) in digests}
        values = check_values(stage, task.large, item.sample_id, outputs)
        files = _write_files(task.large, values, checks, f"{stem}.{len(computed)}")
        small = {field.name: outputs[field.name] for field in task.small}
        samples.append(_Computed(item, small, files, checks))
        computed.append((values, checks))
    chunks = _write_chunks(task, group, computed) if computed else {}
    return seconds, partial(_record, task, samples, chunks)


def _record(task: Task, samples: Sequence[_Computed | dict[str, Any]], chunks: Mapping[str, Any]) -> Record:
    described = (_describe(task, sample) if isinstance(sample, _Computed) else sample for sample in samples)
    return {"samples": list(described), "chunks": chunks}


def _describe(task: Task, sample: _Computed) -> dict[str, Any]:
    """Check a sample's small values, and give what the record says of it; the values are in it."""
    values = {}
    checked = check_values(task.stage, task.small, sample.item.sample_id, sample.small)
    for field in task.small:
        parts = value_parts(field, checked[field.name])
        values[field.name] = list(map(bytes, parts))
        if field.name not in sample.checks:
            sample.checks[field.name] = digest(*parts)
    return {
        "id": sample.item.sample_id,
        "fingerprint": sample.item.fingerprint.hex(),
        "verdict": None,
        "values": values,
        "files": sample.files,
        "checksums": b"".join(sample.checks[field.name] for field in task.fields),
    }


def _write_chunks(
    task: Task, group: Group, computed: Sequence[tuple[Mapping[str, Any], dict[str, bytes]]]
) -> dict[str, Any]:
    """Write the chunks of samples, given their values; gives names, sizes and checksums of files.

    Adds the values' digests to those of each sample.
    """
    chunks = {}
    for field in task.large:
        if isinstance(field, Chunked):
            values = [outputs[field.name] for outputs, _ in computed]
            stacked = np.stack(values) if len(values) > 1 else values[0][None]  # one needs no copy
            data = encode(field.codec, stacked)
            for outputs, checks in computed:  # now that what was encoded lies in the processor's cache
                if field.name not in checks:
                    checks[field.name] = value_digest(field, outputs[field.name])
            name = f"{task.folder}/{field.name}/{group.chunk_file(field)}"
            write_aside(task.staging / name, data, aside=task.staging)
            as_it_is = field.codec == "none" and len(values) == 1
            check = computed[0][1][field.name] if as_it_is else digest(data)
            chunks[field.name] = (name, len(data), check.hex())
    return chunks


def _write_files(
    fields: Sequence[Field], values: Mapping[str, Any], checks: dict[str, bytes], stem: str
) -> dict[str, Any]:
    """Write a sample's files; gives what the record says of them, and adds their digests to `checks`."""
    files = {}
    for field in fields:
        if isinstance(field, File):
            value: FileContent = values[field.name]
            check = checks[field.name] = checks.get(field.name) or value_digest(field, value)
            files[field.name] = {"path": value.path, "size": len(value.data), "checksum": check.hex()}
            _write_content(Path(f"{stem}.{field.name}"), value, check.hex())
    return files


def _write_content(path: Path, content: FileContent, wanted: str) -> None:
    """Link the file that holds the content already, or write it where that is not possible."""
    if content.link is not None:
        with suppress(FileExistsError):  # by a task before this one, or beside it
            link_or_copy(content.link, path)
        if checksum(path)[1] == wanted:
            return  # and else it was edited since it was read
    write_aside(path, content.data)
