"""The manifest of a generation: every file with its size and checksum, and so the store's digest.

`manifest.json` is spelled canonically and carries the digest of its own entries: a flipped bit in
it is found like one in any other file. The digest is the store's name for its bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.collector import collector_paused
from pipeline.digest import canonical_json, digest
from pipeline.errors import REPAIR, StoreError

MANIFEST = "manifest.json"
_SPELLING = re.compile(rb'\{"digest":"(?P<digest>[0-9a-f]{32})","files":(?P<files>.*),"format":1\}\n')


@dataclass(frozen=True)
class Manifest:
    """`files` maps a path relative to the generation (POSIX) to its size in bytes and hex checksum.

    `read_digest` is the digest that was read and checked with them, if they were read.
    """

    files: Mapping[str, tuple[int, str]]
    read_digest: str = field(default="", compare=False)

    @cached_property
    def digest(self) -> str:
        """The store's digest: 32 hexadecimal digits."""
        return self.read_digest or digest(self._spelled).hex()

    @property
    def size(self) -> int:
        """Bytes of all files, without the manifest."""
        return sum(size for size, _ in self.files.values())

    def dump(self) -> bytes:
        """Spell the manifest as it is stored."""
        return b'{"digest":"%s","files":%s,"format":1}\n' % (self.digest.encode(), self._spelled)

    @cached_property
    def _spelled(self) -> bytes:
        return canonical_json(self.files)


def read_manifest(generation: Path) -> Manifest:
    """Read and check the manifest of a generation.

    Raises StoreError where it is missing, unreadable or not the one that was written.
    """
    path = generation / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): no complete store", REPAIR) from None
    return parse_manifest(data, path)


@collector_paused()
def parse_manifest(data: bytes, where: object) -> Manifest:
    """Read a manifest that was found `where`. Raises StoreError where it is not the one that was written."""
    # What the digest is of stands in the file as it was spelled, so nothing has to be spelled again.
    spelled = _SPELLING.fullmatch(data)
    if not spelled or digest(spelled["files"]).hex() != spelled["digest"].decode():
        raise StoreError(f"{where} is damaged: it does not match its own digest", REPAIR)
    files = {name: (size, check) for name, (size, check) in json.loads(spelled["files"]).items()}
    return Manifest(files, spelled["digest"].decode())


def scan(generation: Path) -> dict[str, int]:
    """Find every file below a generation but the manifest: relative POSIX path → size in bytes."""
    found: dict[str, int] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        descriptor = os.open(generation / folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(descriptor) as entries:  # each is looked at from here, not from the root
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{folder}{entry.name}/")
                    else:
                        found[f"{folder}{entry.name}"] = entry.stat().st_size
        finally:
            os.close(descriptor)
    found.pop(MANIFEST, None)
    return found
