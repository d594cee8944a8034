"""Assembling a generation: chunks linked or moved where they exist, packed where not, metadata last.

A generation is laid out by its content alone: samples in dataset order, as many a chunk as their
number asks for. So a rerun that computed one sample and a clean build give the same bytes; what a
rerun saves is computing and writing, since a chunk whose samples are all unchanged is a hard link,
and one that this run has finished only moves here from the staging folder.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import decode, encode
from pipeline.digest import DIGEST_BYTES, digest
from pipeline.errors import PipelineError
from pipeline.files import link_or_copy, sync_all, write_aside, write_new
from pipeline.manifest import MANIFEST, Manifest
from pipeline.moving import move_all
from pipeline.plan import REJECTED, StagePlan, Verdict
from pipeline.records import Record
from pipeline.stage import Chunked, File, Ragged, Row, SmallField, Text
from pipeline.store import Store
from pipeline.values import Bytes, item_bytes, value_parts
from pipeline.zarr_format import (
    array_metadata,
    chunk_key,
    dump,
    encode_text,
    group_metadata,
    samples_per_chunk,
)


@dataclass(frozen=True)
class Staged:
    """A sample that this run computed: its group's key, its slot in the group's chunks, its record.

    `chunks` maps fields to names in the staging folder, sizes and checksums.
    """

    key: str
    slot: int
    size: int
    sample: Mapping[str, Any]
    chunks: Mapping[str, tuple[str, int, str]]


@dataclass
class Assembly:
    """One generation in the making: where each row comes from, and the files that it has so far.

    `moves` maps files of the staging folder to their names in the generation.
    """

    plan: StagePlan
    staging: Path
    target: Path
    indices: list[int]
    staged: dict[int, Staged]
    verdicts: list[Verdict]
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    moves: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {""})
    arrays: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def old(self) -> Store:
        """The old generation; only rows that are reused lead here."""
        assert self.plan.old is not None
        return self.plan.old

    @cached_property
    def chunks(self) -> list[tuple[range, Staged | None]]:
        """Rows of each chunk, and the group of this run whose chunk is exactly these, if there is one."""
        count, total = samples_per_chunk(len(self)), len(self)
        chunks = (range(first, min(first + count, total)) for first in range(0, total, count))
        return [(rows, _whole_group(self, rows, count)) for rows in chunks]

    def write(self, name: str, data: Any) -> None:
        """Write a new file of the generation, which nobody else sees before it is whole."""
        self._place(name)
        write_new(self.target / name, data)
        self.files[name] = (memoryview(data).nbytes, digest(data).hex())
        self.fresh.append(name)

    def link(self, name: str, source: Path, entry: tuple[int, str]) -> None:
        """Take over a file of the old generation."""
        self._place(name)
        if not link_or_copy(source, self.target / name):
            self.fresh.append(name)
        self.files[name] = entry

    def move(self, name: str, staged: str, entry: tuple[int, str]) -> None:
        """Take a file of the staging folder, once all are known."""
        self._only(name)
        self.moves[staged] = name
        self.files[name] = entry
        self.fresh.append(name)

    def move_staged(self) -> None:
        """Move what was taken of the staging folder: a folder at once where all of it is wanted as it is."""
        move_all(self.staging, self.target, dict(self._planned_moves()))

    def _planned_moves(self) -> Iterator[tuple[str, str]]:
        by_folders: dict[tuple[str, str], dict[str, str]] = {}
        for staged, name in self.moves.items():
            folders = staged.rpartition("/")[0], name.rpartition("/")[0]
            by_folders.setdefault(folders, {})[staged] = name
        for (source, folder), moves in by_folders.items():
            same = all(staged[len(source) :] == name[len(folder) :] for staged, name in moves.items())
            alone = folder not in self.folders and len(os.listdir(self.staging / source)) == len(moves)
            if source and same and alone:
                self.folders.add(folder)
                yield source, folder
            else:
                self._make_folder(folder)
                yield from moves.items()

    def _place(self, name: str) -> None:
        """Make the folder that a new file will lie in."""
        self._only(name)
        self._make_folder(name.rpartition("/")[0])

    def _only(self, name: str) -> None:
        """See that a file is the only one of its name."""
        if name in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.target / name))

    def _make_folder(self, folder: str) -> None:
        if folder not in self.folders:
            (self.target / folder).mkdir(parents=True, exist_ok=True)
            while folder:
                self.folders.add(folder)
                folder = folder.rpartition("/")[0]


def locate(plan: StagePlan, records: Mapping[str, Record]) -> tuple[dict[int, Staged], dict[int, Verdict]]:
    """Match the records of this run with the samples that were stale.

    Gives by index what was computed, and the verdicts that the stage gave.
    """
    by_sample: dict[tuple[str, str], tuple[str, int, int, Any, Any]] = {}
    for key, record in records.items():
        size = sum(1 for sample in record["samples"] if not sample["verdict"])
        slot = 0
        for sample in record["samples"]:
            by_sample[sample["id"], sample["fingerprint"]] = (key, slot, size, sample, record["chunks"])
            slot += not sample["verdict"]
    staged: dict[int, Staged] = {}
    verdicts: dict[int, Verdict] = {}
    for index in map(int, plan.stale):
        sample_id, fingerprint = plan.candidates.sample_ids[index], plan.fingerprints[index].tobytes().hex()
        if (sample_id, fingerprint) not in by_sample:
            raise PipelineError(
                f"{plan.stage.name} of {sample_id} was computed and is gone from the staging folder; "
                "leave work/<split>/.staging alone while a run goes on, and run again"
            )
        found = Staged(*by_sample[sample_id, fingerprint])
        if found.sample["verdict"]:
            verdicts[index] = {
                "sample_id": sample_id,
                "stage": plan.stage.name,
                **found.sample["verdict"],
                "fingerprint": fingerprint,
            }
        else:
            staged[index] = found
    return staged, verdicts


def assemble(plan: StagePlan, records: Mapping[str, Record], staging: Path, target: Path) -> Manifest:
    """Build a complete, synced generation in the empty folder `target`; gives its manifest."""
    staged, found = locate(plan, records)
    indices = [i for i, row in enumerate(plan.reuse) if row != REJECTED and i not in found]
    if not indices:
        verdict = plan.verdicts(found)[0]
        raise PipelineError(
            f"{plan.stage.name} accepted none of the {plan.listed} samples, so nothing is "
            f"published; the first, {verdict['sample_id']}: {verdict['code']}: {verdict['reason']}"
        )
    build = Assembly(plan, staging, target, indices, staged, plan.verdicts(found))
    checksums = _checksums(build)
    tallies: dict[str, Any] = {}
    for position, declared in enumerate(plan.stage.fields()):
        if isinstance(declared, Chunked):
            _write_chunked(build, declared, checksums[:, position])
        elif isinstance(declared, File):
            _write_files(build, declared, position, checksums)
        elif isinstance(declared, Text):
            texts = [str(text, "utf-8") for (text,) in _parts(build, declared)]
            _write_text(build, declared.name, texts)
            if declared.tally:
                words = Counter(word.partition("@")[0] for text in texts for word in text.split())
                tallies[declared.name] = dict(sorted(words.items()))
        elif isinstance(declared, Row):
            _write_row(build, declared)
        else:
            _write_ragged(build, declared)
    kept = np.array(indices, dtype=np.int64)
    _write_text(build, "sample_id", [plan.candidates.sample_ids[i] for i in indices])
    _write_array(build, "fingerprint", plan.fingerprints[kept], ("sample", "byte"))
    _write_array(build, "input", plan.candidates.inputs[kept], ("sample", "input", "byte"))
    _write_array(build, "checksum", checksums, ("sample", "field", "byte"))
    if build.moves:
        build.move_staged()  # into folders that do not exist yet, if it can be
    for name, metadata in build.arrays.items():
        build.write(f"{name}/zarr.json", dump(metadata))
    build.write("zarr.json", dump(group_metadata(plan.attributes(build.verdicts, tallies), build.arrays)))
    manifest = Manifest(dict(sorted(build.files.items())))
    write_aside(target / MANIFEST, manifest.dump(), "manifest")
    _sync_all(build)
    return manifest


def _sync_all(build: Assembly) -> None:
    """Flush what is new, and every folder; files linked from the old generation are on the disk."""
    sync_all(build.target, [*build.fresh, MANIFEST, *sorted(build.folders)])


def _checksums(build: Assembly) -> NDArray[np.uint8]:
    """Digest of every field's value for every row, uint8 (N, F, 16)."""
    fields = build.plan.stage.fields()
    checksums = np.zeros((len(build), len(fields), DIGEST_BYTES), dtype=np.uint8)
    rows, old_rows = _reused(build)
    if len(rows):
        names = list(build.old.declared)
        for position, declared in enumerate(fields):
            if declared.name in names:
                checksums[rows, position] = build.old.checksums(declared.name)[old_rows]
    computed = [row for row, index in enumerate(build.indices) if index in build.staged]
    found = (build.staged[build.indices[row]].sample["checksums"] for row in computed)
    flat = np.frombuffer(b"".join([checks[f.name] for checks in found for f in fields]), dtype=np.uint8)
    checksums[computed] = flat.reshape(len(computed), len(fields), DIGEST_BYTES)
    return checksums


def _reused(build: Assembly) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the new generation that come from the old one, and their rows there."""
    sources = build.plan.reuse[np.array(build.indices, dtype=np.int64)]
    rows = np.flatnonzero(sources >= 0)
    return rows, sources[rows]


def _write_chunked(build: Assembly, declared: Chunked, checksums: NDArray[np.uint8]) -> None:
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
            build.link(name, build.old.path / old, build.old.manifest.files[old])
        elif group:
            staged, size, check = group.chunks[declared.name]
            build.move(name, staged, (size, check))
        else:
            build.write(name, _pack(build, declared, rows, count))


def _chunks_by_content(build: Assembly, declared: Chunked, count: int) -> dict[bytes, str]:
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


def _whole_group(build: Assembly, rows: range, count: int) -> Staged | None:
    """Find the group of this run whose chunk is exactly these rows, if there is one."""
    first = build.staged.get(build.indices[rows[0]])
    if first is None or first.size != count or len(rows) != count:
        return None
    for slot, row in enumerate(rows):
        staged = build.staged.get(build.indices[row])
        if staged is None or staged.key != first.key or staged.slot != slot:
            return None
    return first


def _pack(build: Assembly, declared: Chunked, rows: range, count: int) -> Any:
    """Gather a chunk sample by sample; a last chunk that is not full ends in zeros, as Zarr has it."""
    chunk = np.zeros((count, *declared.shape), dtype=declared.dtype)
    key, group = "", chunk
    for slot, row in enumerate(rows):
        index = build.indices[row]
        if index in build.staged:
            staged = build.staged[index]
            if staged.key != key:  # neighbours share a group: each is read and decoded once
                key, data = staged.key, (build.staging / staged.chunks[declared.name][0]).read_bytes()
                group = decode(declared.codec, data, declared.dtype, (staged.size, *declared.shape))
            chunk[slot] = group[staged.slot]
        else:
            chunk[slot] = build.old.value(declared.name, int(build.plan.reuse[index]))
    return encode(declared.codec, chunk)


def _write_files(build: Assembly, declared: File, position: int, checksums: NDArray[np.uint8]) -> None:
    paths = []
    for row, index in enumerate(build.indices):
        check = checksums[row, position].tobytes().hex()
        if index in build.staged:
            staged = build.staged[index]
            entry = staged.sample["files"][declared.name]
            paths.append(entry["path"])
            source = f"{staged.key}.{staged.slot}.{declared.name}"
            build.move(f"{declared.directory}/{paths[-1]}", source, (entry["size"], check))
        else:
            paths.append(build.old.small(declared.name)[int(build.plan.reuse[index])])
            name = f"{declared.directory}/{paths[-1]}"
            build.link(name, build.old.path / name, (build.old.manifest.files[name][0], check))
    _write_text(build, declared.name, paths)


def _parts(build: Assembly, declared: SmallField) -> Iterator[Sequence[Bytes]]:
    """Give the parts of a small field's value, row by row."""
    for index in build.indices:
        if index in build.staged:
            yield build.staged[index].sample["values"][declared.name]
        else:
            row = int(build.plan.reuse[index])
            yield value_parts(declared, build.old.stored(declared, row))


def _write_row(build: Assembly, declared: Row) -> None:
    name, items = declared.name, b"".join(item for (item,) in _parts(build, declared))
    dims = declared.dims or tuple(f"{name}_{i}" for i in range(len(declared.shape)))
    stacked = np.frombuffer(items, dtype=declared.dtype).reshape(len(build), *declared.shape)
    _write_array(build, name, stacked, ("sample", *dims))


def _write_ragged(build: Assembly, declared: Ragged) -> None:
    """Write values end to end, and where each sample begins and each of its parts."""
    name, item_dims = declared.name, tuple(f"{declared.name}_{i}" for i in range(len(declared.shape)))
    items, lengths, edges = bytearray(), bytearray(), [0]
    for *before, last in _parts(build, declared):
        lengths += b"".join(before)
        items += last
        edges.append(len(lengths) // 8 if declared.levels == 2 else len(items) // item_bytes(declared))
    _write_array(build, f"{name}_offsets", np.array(edges, dtype=np.int64), (f"{name}_sample_edge",))
    if declared.levels == 2:
        part_edges = np.cumsum(np.frombuffer(b"\0" * 8 + lengths, dtype=np.int64))
        _write_array(build, f"{name}_part_offsets", part_edges, (f"{name}_part_edge",))
    values = np.frombuffer(items, dtype=declared.dtype).reshape(-1, *declared.shape)
    _write_array(build, name, values, (f"{name}_item", *item_dims))


def _write_array(build: Assembly, name: str, array: NDArray[Any], dims: tuple[str, ...]) -> None:
    chunk = [max(1, length) for length in array.shape]
    build.arrays[name] = array_metadata(array.shape, array.dtype.name, chunk, dims)
    if array.size:
        build.write(f"{name}/{chunk_key(0, array.ndim)}", encode("none", array))


def _write_text(build: Assembly, name: str, values: Sequence[str]) -> None:
    build.arrays[name] = array_metadata((len(values),), "string", (max(1, len(values)),), ("sample",))
    if values:
        build.write(f"{name}/{chunk_key(0, 1)}", encode_text(values))
