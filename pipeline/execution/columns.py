"""What a generation holds of its samples beside their chunks: small values end to end, paths, checksums.

They are gathered in one pass over the rows. Of the samples that a run computed they are read from its
records, a few files at a time: memory holds what the arrays will, and no record longer than it takes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.digest import DIGEST_BYTES
from pipeline.execution.records import read_records
from pipeline.execution.unfinished_generation import UnfinishedGeneration
from pipeline.stage import Chunked, File, Row, SmallField, Text
from pipeline.store import Bytes, Store, item_bytes

_HELD = 8  # files of records in memory at once: neighbours lie in one, but for those that were tried again


@dataclass
class Column:
    """A small field's values end to end.

    `edges` are where samples begin in `items`, in bytes, and the end. A ragged value of two levels also has
    the `lengths` of its parts (int64), and `part_edges` are where samples begin among these.
    """

    items: bytearray = field(default_factory=bytearray)
    edges: array[int] = field(default_factory=lambda: array("q", [0]))
    lengths: bytearray = field(default_factory=bytearray)
    part_edges: array[int] = field(default_factory=lambda: array("q", [0]))

    def append(self, parts: Sequence[Bytes]) -> None:
        """Add a sample's value, given as its parts."""
        *before, last = parts
        self.lengths += b"".join(before)
        self.items += last
        self.edges.append(len(self.items))
        self.part_edges.append(len(self.lengths) // 8)

    def extend(self, old: Store, declared: SmallField, first: int, last: int) -> None:
        """Add the values of rows [first, last) of a generation, as they lie there."""
        index, name = old.index, declared.name
        if isinstance(declared, Text):
            texts = [text.encode() for text in index.text(name)[first:last]]
            items, edges = b"".join(texts), np.cumsum([0, *map(len, texts)])
        elif isinstance(declared, Row):
            self.items += index.array(name)[first:last].tobytes()
            return  # all of one size: nobody asks where they begin
        else:
            edges = index.array(f"{name}_offsets")[first : last + 1]
            if declared.levels == 2:
                part_edges = index.array(f"{name}_part_offsets")
                self.lengths += np.diff(part_edges[edges[0] : edges[-1] + 1]).tobytes()
                _go_on(self.part_edges, edges)
                edges = part_edges[edges]
            items = index.array(name)[edges[0] : edges[-1]].tobytes()
            edges = edges * item_bytes(declared)
        self.items += items
        _go_on(self.edges, edges)

    def texts(self) -> list[str]:
        """Give the values of a text field."""
        return [str(self.items[start:end], "utf-8") for start, end in pairwise(self.edges)]


@dataclass
class Columns:
    """Small values and files (path, size) by field; digests of all values, uint8 (N, F, 16)."""

    small: Mapping[str, Column]
    files: Mapping[str, list[tuple[str, int]]]
    checksums: NDArray[np.uint8]


def gather(build: UnfinishedGeneration) -> Columns:
    """Read what the rows of a generation hold beside their chunks, from records and the old generation."""
    fields = build.plan.stage.fields()
    files = {f: list[tuple[str, int]]() for f in fields if isinstance(f, File)}
    small = {f: Column() for f in fields if not isinstance(f, Chunked | File)}
    old_paths = {f: build.old.small(f.name) for f in files} if (build.plan.reuse >= 0).any() else {}
    checksums = _old_checksums(build)
    read = lru_cache(maxsize=_HELD)(lambda file: read_records(build.staging / file))
    for row, old_row, count in _runs(build):
        if old_row >= 0:
            for file, entries in files.items():
                sizes, folder = build.old.manifest.files, file.directory
                paths = old_paths[file][old_row : old_row + count]
                entries += ((path, sizes[f"{folder}/{path}"][0]) for path in paths)
            for declared, column in small.items():
                column.extend(build.old, declared, old_row, old_row + count)
        else:
            staged = build.staged[build.indices[row]]
            sample = read(staged.group.file)[staged.group.key]["samples"][staged.place]
            flat = np.frombuffer(bytes.fromhex(sample["checksums"]), dtype=np.uint8)
            checksums[row] = flat.reshape(len(fields), DIGEST_BYTES)
            for file, entries in files.items():
                entry = sample["files"][file.name]
                entries.append((entry["path"], entry["size"]))
            for declared, column in small.items():
                column.append(list(map(bytes.fromhex, sample["values"][declared.name])))
    return Columns({f.name: small[f] for f in small}, {f.name: files[f] for f in files}, checksums)


def _runs(build: UnfinishedGeneration) -> Iterator[tuple[int, int, int]]:
    """Give rows that lie in the old generation as they do in this one: first row, first there, and how many.

    A row that this run computed is alone, and none of the old generation's.
    """
    sources = np.array(build.sources, dtype=np.int64)
    breaks = 1 + np.flatnonzero((np.diff(sources) != 1) | (sources[:-1] < 0))
    for first, last in pairwise([0, *breaks.tolist(), len(sources)]):
        yield first, int(sources[first]), last - first


def _go_on(edges: array[int], more: NDArray[np.int64]) -> None:
    """Lay edges behind others, the first of them upon the last."""
    edges.frombytes((more[1:] - more[0] + edges[-1]).astype(np.int64).tobytes())


def _old_checksums(build: UnfinishedGeneration) -> NDArray[np.uint8]:
    """Digests of the values of rows that come from the old generation; of others zeros."""
    fields = build.plan.stage.fields()
    checksums = np.zeros((len(build), len(fields), DIGEST_BYTES), dtype=np.uint8)
    sources = np.array(build.sources, dtype=np.int64)
    rows = np.flatnonzero(sources >= 0)
    if len(rows):
        for position, declared in enumerate(fields):
            if declared.name in build.old.declared:
                checksums[rows, position] = build.old.checksums(declared.name)[sources[rows]]
    return checksums
