"""A generation in the making: its samples, and the files that it has so far."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.digest import digest
from pipeline.files import link_or_copy, write_new
from pipeline.planning import StagePlan, Verdict
from pipeline.store import Store, samples_per_chunk


@dataclass(frozen=True)
class StagedGroup:
    """A group that this run computed: the file of its record, and the samples in its chunks.

    `chunks` maps fields to sizes and checksums.
    """

    key: str
    file: str
    size: int
    chunks: Mapping[str, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Staged:
    """A sample that this run computed: its group, its slot in the group's chunks, its place in the record."""

    group: StagedGroup
    slot: int
    place: int


@dataclass
class UnfinishedGeneration:
    """One generation in the making: where each row comes from, and the files that it has so far."""

    plan: StagePlan
    staging: Path
    target: Path
    indices: list[int]
    staged: dict[int, Staged]
    verdicts: list[Verdict]
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=lambda: {""})
    arrays: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def sources(self) -> list[int]:
        """Where each row comes from: a row of the old generation, or COMPUTE."""
        sources: list[int] = self.plan.reuse[np.array(self.indices, dtype=np.int64)].tolist()
        return sources

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def old(self) -> Store:
        """The old generation; only rows that are reused lead here."""
        assert self.plan.old is not None
        return self.plan.old

    @cached_property
    def chunks(self) -> list[tuple[range, StagedGroup | None]]:
        """Rows of each chunk, and the group of this run whose chunk is exactly these, if there is one."""
        count, total = samples_per_chunk(len(self)), len(self)
        chunks = (range(first, min(first + count, total)) for first in range(0, total, count))
        return [(rows, _whole_group(self, rows, count)) for rows in chunks]

    def write(self, name: str, data: Any) -> None:
        """Write a new file of the generation, which nobody else sees before it is whole."""
        write_new(self._place(name), data)
        self.files[name] = (memoryview(data).nbytes, digest(data).hex())
        self.fresh.append(name)

    def link(self, name: str, old: str, entry: tuple[int, str]) -> None:
        """Take over a file of the old generation, which is named `old` there."""
        if not link_or_copy(f"{self.old.path}/{old}", self._place(name)):
            self.fresh.append(name)
        self.files[name] = entry

    def take(self, name: str, staged: str, entry: tuple[int, str]) -> None:
        """Take a file of the staging folder, which keeps it until the generation is published."""
        link_or_copy(f"{self.staging}/{staged}", self._place(name))
        self.fresh.append(name)
        self.files[name] = entry

    def _place(self, name: str) -> str:
        """Give the path of a new file, the only one of its name, in a folder that is there then."""
        path = f"{self.target}/{name}"  # text: pathlib would take longer than the system's calls
        if name in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        folder = name.rpartition("/")[0]
        if folder not in self.folders:
            (self.target / folder).mkdir(parents=True, exist_ok=True)
            while folder:
                self.folders.add(folder)
                folder = folder.rpartition("/")[0]
        return path


def _whole_group(build: UnfinishedGeneration, rows: range, count: int) -> StagedGroup | None:
    """Find the group of this run whose chunk is exactly these rows, if there is one."""
    staged = [build.staged.get(build.indices[row]) for row in rows]
    whole = len({one and one.group.key for one in staged}) == 1 and len(rows) == count
    return staged[0].group if whole and staged[0] is not None and staged[0].group.size == count else None
