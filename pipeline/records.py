"""Records of finished groups in the staging folder: what was computed, and that it is whole.

A task appends a line of JSON per group to its thread's file, after the group's chunks are written.
The line of a task that was killed while it wrote is cut short, and so no record.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import Quarantine
from pipeline.files import append
from pipeline.manifest import checksum

# `samples`: id, fingerprint, verdict and, of one that has none, `checksums` (bytes, all fields' in order) and
# by field `values` (small ones, each as the bytes of its parts) and `files`; `chunks`: names in the staging
# folder, sizes and checksums of the group's chunk files. In the file, bytes are spelled in hexadecimal.
Record = Mapping[str, Any]

_SUFFIX = ".records"
_SECONDS = 0.25
_this_thread = threading.local()
_spell = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=bytes.hex).encode


class RecordFile:
    """Records of finished groups on their way into a file; `written` has those that are in it.

    They are made and written together, a quarter of a second's work at once: that much a kill can cost.
    One by one, each would find the processor's caches full of the sample before it.
    """

    def __init__(self, descriptor: int) -> None:
        self.written: dict[str, Record] = {}
        self._descriptor = descriptor
        self._waiting: dict[str, Callable[[], Record]] = {}
        self._written_at = time.monotonic()

    def add(self, key: str, make: Callable[[], Record]) -> None:
        """Add the record of a group whose chunks and files are there, by what makes it."""
        self._waiting[key] = make
        if time.monotonic() > self._written_at + _SECONDS:
            self.write()

    def write(self) -> None:
        """Write what was added since."""
        made = {key: make() for key, make in self._waiting.items()}
        self._waiting.clear()
        _append(self._descriptor, made)
        self.written |= made
        self._written_at = time.monotonic()


@contextmanager
def record_file(staging: Path) -> Iterator[RecordFile]:
    """Open a file of records that no other thread writes; at the end all is written."""
    path = _path_of_this_thread(staging)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    file = RecordFile(descriptor)
    try:
        try:
            yield file
        finally:
            file.write()
    finally:
        os.close(descriptor)


def read_records(staging: Path) -> dict[str, Record]:
    """Read all records in a staging folder, by their groups' keys; lines that are not whole are none."""
    records: dict[str, Record] = {}
    for path in staging.glob(f"*{_SUFFIX}"):
        for line in path.read_bytes().split(b"\n"):
            try:
                key, record = json.loads(line)
                records[key] = _read(record)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
    return records


def _read(record: dict[str, Any]) -> Record:
    """Turn what is spelled in hexadecimal into bytes again."""
    for sample in record["samples"]:
        if not sample["verdict"]:
            sample["checksums"] = bytes.fromhex(sample["checksums"])
            for name, parts in sample["values"].items():
                sample["values"][name] = list(map(bytes.fromhex, parts))
    return record


def is_whole(staging: Path, key: str, record: Record) -> bool:
    """Tell whether the files of a group that an earlier run finished are what its record says.

    They were never synced: a power cut may have emptied them.
    """
    try:
        files = {name: (size, check) for name, size, check in record["chunks"].values()}
        for slot, sample in enumerate(s for s in record["samples"] if not s["verdict"]):
            for name, entry in sample["files"].items():
                files[f"{key}.{slot}.{name}"] = (entry["size"], entry["checksum"])
        return all(checksum(staging / name) == entry for name, entry in files.items())
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def _path_of_this_thread(staging: Path) -> str:
    """Name a file for all tasks of this thread: making one takes longer than what a task writes to it."""
    place = os.getpid(), staging
    if getattr(_this_thread, "place", None) != place:
        _this_thread.place = place
        _this_thread.path = f"{staging}/{secrets.token_hex(16)}{_SUFFIX}"
    return str(_this_thread.path)


def _append(descriptor: int, records: Mapping[str, Record]) -> None:
    """Write a line for each; it comes after the break, as a line before it may have been cut short."""
    append(descriptor, "".join(f"\n{_spell(entry)}" for entry in records.items()).encode(), "record")


def verdict_record(sample_id: str, fingerprint: bytes, verdict: Quarantine) -> dict[str, Any]:
    """Give what the record of a group says of a sample that is quarantined."""
    return {
        "id": sample_id,
        "fingerprint": fingerprint.hex(),
        "verdict": {"code": verdict.code, "reason": verdict.reason},
    }
