"""A generation in the making: its samples, and the files that it has so far."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.digest import digest
from pipeline.files import link_or_copy, write_new
from pipeline.moving import move_all
from pipeline.plan import StagePlan, Verdict
from pipeline.store import Store
from pipeline.zarr_format import samples_per_chunk


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
        if self.moves:
            move_all(self.staging, self.target, dict(self._planned_moves()))

    def _planned_moves(self) -> Iterator[tuple[str, str]]:
        by_folders: dict[tuple[str, str], dict[str, str]] = {}
        for staged, name in self.moves.items():
            source, _, file = staged.rpartition("/")
            folder, _, wanted = name.rpartition("/")
            by_folders.setdefault((source, folder), {})[file] = wanted
        sources = Counter(folder for _, folder in by_folders)
        for (source, folder), files in by_folders.items():
            alone = source and sources[folder] == 1 and folder not in self.folders
            if alone and self._is_all_of(source, files):
                self.folders.add(folder)
                yield source, folder
            else:
                self._make_folder(folder)
                yield from ((f"{source}/{file}".lstrip("/"), f"{folder}/{files[file]}") for file in files)

    def _is_all_of(self, source: str, files: Mapping[str, str]) -> bool:
        """Tell whether files are all that is in a folder of the staging folder, and keep their names."""
        if any(file != wanted for file, wanted in files.items()):
            return False
        return {path.name for path in (self.staging / source).iterdir()} == set(files)

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
