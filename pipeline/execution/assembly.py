"""Assembling a generation: chunks linked where they exist, packed where not, metadata last.

A generation is laid out by its content alone: samples in dataset order, as many a chunk as their
number asks for. So a rerun that computed one sample and a clean build give the same bytes; what a
rerun saves is computing and writing, since a chunk whose samples are all unchanged is a hard link,
and so is one that this run has finished: the staging folder goes once the generation is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.collector import collector_paused
from pipeline.errors import PipelineError
from pipeline.execution.columns import Column, gather
from pipeline.execution.records import read_records
from pipeline.execution.unfinished_generation import Staged, StagedGroup, UnfinishedGeneration
from pipeline.files import sync_all, write_aside
from pipeline.planning import REJECTED, StagePlan, Verdict
from pipeline.stage import Chunked, File, Ragged, Row, Text
from pipeline.store import (
    MANIFEST,
    Manifest,
    array_metadata,
    chunk_key,
    decode,
    dump,
    encode,
    encode_text,
    group_metadata,
    item_bytes,
    read_rows,
    samples_per_chunk,
)

_FIELDS_AT_ONCE = 2  # each is in a folder of its own; more would hold more chunks in memory


def locate(
    plan: StagePlan, records: Mapping[str, str], staging: Path
) -> tuple[dict[int, Staged], dict[int, Verdict]]:
    """Match the records of this run, given by group as files, with the samples that were stale.

    Gives by index what was computed, and the verdicts that the stage gave.
    """
    sought = {plan.candidates.sample_ids[index]: index for index in map(int, plan.stale)}
    staged: dict[int, Staged] = {}
    verdicts: dict[int, Verdict] = {}
    for file in dict.fromkeys(records.values()):
        for key, record in read_records(staging / file).items():
            if records.get(key) != file:  # another file has what counts of this group
                continue
            samples = record["samples"]
            size, slot = sum(1 for sample in samples if not sample["verdict"]), 0
            group = StagedGroup(key, file, size, record["chunks"])
            for place, sample in enumerate(samples):
                index = sought.pop(sample["id"])
                if sample["verdict"]:
                    verdicts[index] = {
                        "sample_id": sample["id"],
                        "stage": plan.stage.name,
                        **sample["verdict"],
                        "fingerprint": sample["fingerprint"],
                    }
                else:
                    staged[index] = Staged(group, slot, place)
                    slot += 1
    for sample_id in sought:
        raise PipelineError(
            f"{plan.stage.name} of {sample_id} was computed and is gone from the staging folder; "
            "leave work/<split>/.staging alone while a run goes on, and run again"
        )
    return staged, verdicts


@collector_paused()
def assemble(plan: StagePlan, records: Mapping[str, str], staging: Path, target: Path) -> Manifest:
    """Build a complete, synced generation in the empty folder `target`; gives its manifest.

    `records` gives by group the file of its record.
    """
    staged, found = locate(plan, records, staging)
    indices = [i for i, row in enumerate(plan.reuse) if row != REJECTED and i not in found]
    if not indices:
        verdict = plan.verdicts(found)[0]
        raise PipelineError(
            f"{plan.stage.name} accepted none of the {plan.listed} samples, so nothing is "
            f"published; the first, {verdict['sample_id']}: {verdict['code']}: {verdict['reason']}"
        )
    build = UnfinishedGeneration(plan, staging, target, indices, staged, plan.verdicts(found))
    columns = gather(build)
    checksums = columns.checksums
    tallies: dict[str, Any] = {}
    with ThreadPoolExecutor(_FIELDS_AT_ONCE) as writers:
        chunked = []
        for position, declared in enumerate(plan.stage.fields()):
            if isinstance(declared, Chunked):
                chunked.append(writers.submit(_write_chunked, build, declared, checksums[:, position]))
            elif isinstance(declared, File):
                _write_files(build, declared, columns.files[declared.name], checksums[:, position])
            elif isinstance(declared, Text):
                texts = columns.small[declared.name].texts()
                _write_text(build, declared.name, texts)
                if declared.tally:
                    words = Counter(word.partition("@")[0] for text in texts for word in text.split())
                    tallies[declared.name] = dict(sorted(words.items()))
            elif isinstance(declared, Row):
                _write_row(build, declared, columns.small[declared.name])
            else:
                _write_ragged(build, declared, columns.small[declared.name])
        for writer in chunked:
            writer.result()
    kept = np.array(indices, dtype=np.int64)
    _write_text(build, "sample_id", [plan.candidates.sample_ids[i] for i in indices])
    _write_array(build, "fingerprint", plan.fingerprints[kept], ("sample", "byte"))
    _write_array(build, "input", plan.candidates.inputs[kept], ("sample", "input", "byte"))
    _write_array(build, "checksum", checksums, ("sample", "field", "byte"))
    for name, metadata in build.arrays.items():
        build.write(f"{name}/zarr.json", dump(metadata))
    build.write("zarr.json", dump(group_metadata(plan.attributes(build.verdicts, tallies), build.arrays)))
    manifest = Manifest(dict(sorted(build.files.items())))
    write_aside(target / MANIFEST, manifest.dump(), "manifest")
    _sync_all(build)
    return manifest


def _sync_all(build: UnfinishedGeneration) -> None:
    """Flush what is new, and every folder; files linked from the old generation are on the disk."""
    sync_all(build.target, [*build.fresh, MANIFEST, *sorted(build.folders)])


def _write_chunked(build: UnfinishedGeneration, declared: Chunked, checksums: NDArray[np.uint8]) -> None:
    count, total = samples_per_chunk(len(build)), len(build)
    dims = ("sample", *(declared.dims or tuple(f"{declared.name}_{i}" for i in range(len(declared.shape)))))
    build.arrays[declared.name] = array_metadata(
        (total, *declared.shape), declared.dtype, (count, *declared.shape), dims, declared.codec
    )
    old_chunks = _chunks_by_content(build, declared, count)
    for number, (rows, group) in enumerate(build.chunks):
        name = f"{declared.name}/{chunk_key(number, 1 + len(declared.shape))}"
        old = old_chunks.get(checksums[rows.start : rows.stop].tobytes()) if old_chunks else None
        if old:
            build.link(name, old, build.old.manifest.files[old])
        elif group:
            size, check = group.chunks[declared.name]
            build.take(name, f"{group.key}.{declared.name}", (size, check))
        else:
            build.write(name, _pack(build, declared, rows, count))


def _chunks_by_content(build: UnfinishedGeneration, declared: Chunked, count: int) -> dict[bytes, str]:
    """Files of the old generation by the digests of the samples in them, if it stores them alike."""
    old = build.plan.old
    if old is None or old.declared.get(declared.name) != declared or old.samples_per_chunk != count:
        return {}
    checksums, dims = old.checksums(declared.name), 1 + len(declared.shape)
    names = (f"{declared.name}/{chunk_key(number, dims)}" for number in range(-(-len(old) // count)))
    return {
        checksums[first : first + count].tobytes(): name
        for first, name in zip(range(0, len(old), count), names, strict=True)
        if name not in build.plan.damaged
    }


def _pack(build: UnfinishedGeneration, declared: Chunked, rows: range, count: int) -> Any:
    """Gather a chunk from others; a last chunk that is not full ends in zeros, as Zarr has it."""
    chunk = np.zeros((count, *declared.shape), dtype=declared.dtype)
    key, group, sources, row = "", chunk, build.sources, rows.start
    while row < rows.stop:
        first, slot, old = row, row - rows.start, sources[row]
        row += 1
        if old < 0:
            staged = build.staged[build.indices[first]]
            if staged.group.key != key:  # neighbours share a group: each is read and decoded once
                key, size = staged.group.key, staged.group.size
                data = (build.staging / f"{key}.{declared.name}").read_bytes()
                group = decode(declared.codec, data, declared.dtype, (size, *declared.shape))
            chunk[slot] = group[staged.slot]
        else:
            while row < rows.stop and sources[row] == old + row - first:  # neighbours there as well
                row += 1
            chunk[slot : row - rows.start] = read_rows(build.old, declared.name, old, old + row - first)
    return encode(declared.codec, chunk)


def _write_files(
    build: UnfinishedGeneration,
    declared: File,
    entries: Sequence[tuple[str, int]],
    checksums: NDArray[np.uint8],
) -> None:
    for index, (path, size), check in zip(build.indices, entries, checksums, strict=True):
        name, entry = f"{declared.directory}/{path}", (size, check.tobytes().hex())
        if index in build.staged:
            staged = build.staged[index]
            build.take(name, f"{staged.group.key}.{staged.slot}.{declared.name}", entry)
        else:
            build.link(name, name, entry)
    _write_text(build, declared.name, [path for path, _ in entries])


def _write_row(build: UnfinishedGeneration, declared: Row, column: Column) -> None:
    name = declared.name
    dims = declared.dims or tuple(f"{name}_{i}" for i in range(len(declared.shape)))
    stacked = np.frombuffer(column.items, dtype=declared.dtype).reshape(len(build), *declared.shape)
    _write_array(build, name, stacked, ("sample", *dims))


def _write_ragged(build: UnfinishedGeneration, declared: Ragged, column: Column) -> None:
    """Write values end to end, and where each sample begins and each of its parts."""
    name, item_dims = declared.name, tuple(f"{declared.name}_{i}" for i in range(len(declared.shape)))
    starts, unit = (column.part_edges, 1) if declared.levels == 2 else (column.edges, item_bytes(declared))
    edges = np.array(starts, dtype=np.int64) // unit
    _write_array(build, f"{name}_offsets", edges, (f"{name}_sample_edge",))
    if declared.levels == 2:
        part_edges = np.cumsum(np.frombuffer(b"\0" * 8 + column.lengths, dtype=np.int64))
        _write_array(build, f"{name}_part_offsets", part_edges, (f"{name}_part_edge",))
    values = np.frombuffer(column.items, dtype=declared.dtype).reshape(-1, *declared.shape)
    _write_array(build, name, values, (f"{name}_item", *item_dims))


def _write_array(build: UnfinishedGeneration, name: str, array: NDArray[Any], dims: tuple[str, ...]) -> None:
    chunk = [max(1, length) for length in array.shape]
    build.arrays[name] = array_metadata(array.shape, array.dtype.name, chunk, dims)
    if array.size:
        build.write(f"{name}/{chunk_key(0, array.ndim)}", encode("none", array))


def _write_text(build: UnfinishedGeneration, name: str, values: Sequence[str]) -> None:
    build.arrays[name] = array_metadata((len(values),), "string", (len(values),), ("sample",))
    build.write(f"{name}/{chunk_key(0, 1)}", encode_text(values))
