"""Records of finished groups in the staging folder: what was computed, and that it is whole.

A task appends a line of JSON per group to a file of its own, after the group's chunks are written.
The line of a task that was killed while it wrote is cut short, and so no record.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.digest import canonical_json
from pipeline.errors import Quarantine
from pipeline.files import append
from pipeline.manifest import checksum

Record = Mapping[str, Any]  # samples: id, fingerprint, verdict, values, files, checksums; chunks

_SUFFIX = ".records"


@contextmanager
def record_file(staging: Path) -> Iterator[Callable[[str, Record], None]]:
    """Open a file of records that nobody else writes; gives what appends the record of a group."""
    descriptor, _ = tempfile.mkstemp(_SUFFIX, "", staging)

    def write(key: str, record: Record) -> None:
        append(descriptor, canonical_json([key, record]) + b"\n", "record")

    try:
        yield write
    finally:
        os.close(descriptor)


def read_records(staging: Path) -> dict[str, Record]:
    """Read all records in a staging folder, by their groups' keys; lines that are not whole are none."""
    records: dict[str, Record] = {}
    for path in staging.glob(f"*{_SUFFIX}"):
        for line in path.read_bytes().split(b"\n"):
            try:
                key, record = json.loads(line)
                records[key] = dict(record)
            except (ValueError, TypeError):
                continue
    return records


def is_whole(staging: Path, key: str, record: Record) -> bool:
    """Tell whether the files of a group that an earlier run finished are what its record says.

    They were never synced: a power cut may have emptied them.
    """
    try:
        files = {f"{key}.{name}": tuple(entry) for name, entry in record["chunks"].items()}
        for slot, sample in enumerate(s for s in record["samples"] if not s["verdict"]):
            for name, entry in sample["files"].items():
                files[f"{key}.{slot}.{name}"] = (entry["size"], sample["checksums"][name])
        return all(checksum(staging / name) == entry for name, entry in files.items())
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def verdict_record(sample_id: str, fingerprint: bytes, verdict: Quarantine) -> dict[str, Any]:
    """Give what the record of a group says of a sample that is quarantined."""
    return {
        "id": sample_id,
        "fingerprint": fingerprint.hex(),
        "verdict": {"code": verdict.code, "reason": verdict.reason},
    }
