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

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.errors import Quarantine
from pipeline.files import write_aside
from pipeline.manifest import checksum

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
    _known: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _digests: dict[str, bytes] = field(default_factory=dict)
    _seen: dict[str, tuple[tuple[int, ...], bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rehash:
            self._load()

    def __call__(self, path: Path) -> bytes:
        """Digest of a file's content: 16 bytes. Raises OSError where it cannot be read."""
        name = os.path.relpath(path, self.root)
        status = path.stat()
        signature = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get(name)
        if known and known[:4] == signature and known[3] + _RACY_NS < known[4]:
            value, hashed_at = self._digests[name], known[4]
        else:
            hashed_at = time.time_ns()
            value = bytes.fromhex(checksum(path)[1])
            self.hashed += 1
        self._seen[name] = ((*signature, hashed_at), value)
        return value

    def save(self) -> None:
        """Remember what this run has seen, and forget the rest; makes no folder for that."""
        if not self.memory.parent.is_dir():
            return
        names = "\n".join(self._seen).encode()
        numbers = np.array([known for known, _ in self._seen.values()], dtype="<i8").reshape(-1, 5)
        digests = b"".join(value for _, value in self._seen.values())
        head = np.array([len(self._seen), len(names)], dtype="<i8").tobytes()
        write_aside(self.memory, head + names + numbers.tobytes() + digests, "record")

    def _load(self) -> None:
        """Read the memory; one that is missing or damaged only costs hashing again."""
        try:
            data = self.memory.read_bytes()
            count, length = np.frombuffer(data[:16], dtype="<i8").tolist()
            names = data[16 : 16 + length].decode().split("\n") if count else []
            at = 16 + length
            numbers = np.frombuffer(data[at : at + 40 * count], dtype="<i8").reshape(count, 5).tolist()
            digests = data[at + 40 * count :]
            if len(names) != count or len(digests) != 16 * count:
                return
        except (OSError, ValueError):
            return
        self._known = dict(zip(names, map(tuple, numbers), strict=True))
        self._digests = {name: digests[16 * i : 16 * i + 16] for i, name in enumerate(names)}
