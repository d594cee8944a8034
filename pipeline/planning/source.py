"""What feeds the first stage: samples in dataset order, each with the digests of its inputs.

Hashing files is skipped only where a file provably did not change: its inode, size, mtime and ctime
are those recorded, and the change time lies well before the moment it was hashed. An edit after
that moment gets a later ctime, which (unlike mtime) no user can set back; one within the clock's
resolution fails the second condition, so the file is hashed again.

Hard links that a store makes to raw files, and `gc` removes, change the ctime too, so such files are
hashed once more after that. Remembering the new ctime instead would trust a file that nobody has
read since: an edit in the instant of the link, with its mtime put back, leaves the same status.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import Quarantine
from pipeline.files import checksum, write_aside

# Two seconds is the coarsest timestamp of a file system in use (FAT); half a second more for the clock.
_RACY_NS = 2_500_000_000


@dataclass(frozen=True)
class SourceSample:
    """One listed sample: what the first stage reads, or the verdict that keeps it out.

    `inputs` holds a 16-byte digest per named input; `payload` is picklable and becomes
    `Inputs.source`.
    """

    sample_id: str
    inputs: Mapping[str, bytes]
    payload: Any = None
    verdict: Quarantine | None = None


class Source(Protocol):
    """A split of a data set."""

    def samples(self, hashes: FileHashes) -> Sequence[SourceSample]:
        """List the split in dataset order. Raises PipelineError where there is no such split."""
        ...


@dataclass
class FileHashes:
    """Digests of files by path relative to `root`, remembered between runs in the file `memory`.

    With `rehash` nothing remembered is trusted.
    """

    memory: Path
    root: Path
    rehash: bool = False
    hashed: int = 0
    _known: dict[str, list[Any]] = field(default_factory=dict)
    _seen: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with suppress(OSError, ValueError):  # a memory that is missing or damaged only costs hashing again
            if not self.rehash:
                self._known = dict(json.loads(self.memory.read_bytes()))

    @cached_property
    def _prefix(self) -> str:
        """What the absolute path of a file below `root` begins with."""
        return f"{self.root.absolute()}{os.sep}"

    def __call__(self, path: Path) -> bytes:
        """Digest of a file's content: 16 bytes. Raises OSError where it cannot be read."""
        text = os.fspath(path)  # pathlib and relpath would take ten times as long as the system's call
        below = text.startswith(self._prefix)
        name = text[len(self._prefix) :] if below else os.path.relpath(text, self.root)
        status = os.stat(text)  # noqa: PTH116
        signature = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        known = self._known.get(name)
        if not (known and known[:4] == signature and known[3] + _RACY_NS < known[4]):
            known = [*signature, time.time_ns(), checksum(path)[1]]
            self.hashed += 1
        self._seen[name] = known
        return bytes.fromhex(known[5])

    def example(self) -> tuple[Path, str] | None:
        """Give one file that this run has looked at, and its checksum: a worker elsewhere must find both."""
        for name, known in self._seen.items():
            return (self.root / name).absolute(), known[5]
        return None

    def save(self) -> None:
        """Remember what this run has seen, and forget the rest; where there is no work folder, nothing."""
        if self._seen != self._known and self.memory.parent.is_dir():
            write_aside(self.memory, json.dumps(self._seen).encode(), "record")
