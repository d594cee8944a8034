"""Records of finished groups in the staging folder: what was computed, and that it is whole.

A task leaves one file of them, written after its chunks and renamed into place: a kill costs a task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.digest import digest
from pipeline.errors import Quarantine, host
from pipeline.files import checksum, write_aside
from pipeline.stage import Chunked, Field, File
from pipeline.store import value_parts

# JSON values. `samples`: id, fingerprint, verdict and, of one that has none, `checksums` (all fields' in
# order) and by field `values` (small ones, each as its parts) and `files`; bytes are spelled in hexadecimal.
# `chunks`: sizes and checksums of the group's chunk files, by field.
Record = Mapping[str, Any]

# Verdicts that may be the machine's fault; they are remembered like the others, until `--retry`.
MACHINE_CODES = frozenset({"crashed", "timed_out", "out_of_memory", "stage_error"})

_SUFFIX = ".records"
_spell = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def write_records(staging: Path, records: Mapping[str, Record]) -> dict[str, str]:
    """Write the records of groups, by their keys, into a file of their own; gives its name for each key."""
    if not records:
        return {}
    name = f"{digest(*map(str.encode, records)).hex()}{_SUFFIX}"
    write_aside(staging / name, _spell(records).encode(), "record")
    return dict.fromkeys(records, name)


def record_files(staging: Path) -> list[str]:
    """List the files of records in a staging folder."""
    return [path.name for path in staging.glob(f"*{_SUFFIX}")]


def read_records(path: Path) -> dict[str, Record]:
    """Read a file of records, by their groups' keys; one that is gone or spoilt by a power cut holds none."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError, FileNotFoundError):
        return {}


def sample_record(
    fields: Sequence[Field],
    sample_id: str,
    fingerprint: bytes,
    values: Mapping[str, Any],
    checks: Mapping[str, bytes],
    files: Mapping[str, Any],
) -> dict[str, Any]:
    """Give what the record of a group says of a sample that was computed."""
    small = [field for field in fields if not isinstance(field, Chunked | File)]
    return {
        "id": sample_id,
        "fingerprint": fingerprint.hex(),
        "verdict": None,
        "values": {f.name: [bytes(part).hex() for part in value_parts(f, values[f.name])] for f in small},
        "files": files,
        "checksums": b"".join(checks[field.name] for field in fields).hex(),
    }


def verdict_record(
    sample_id: str, fingerprint: bytes, verdict: Quarantine, machine: str = ""
) -> dict[str, Any]:
    """Give what the record of a group says of a sample that is quarantined.

    What may be a machine's fault names the `machine`: this one, unless another is given.
    """
    said = {"code": verdict.code, "reason": verdict.reason}
    if verdict.code in MACHINE_CODES:
        said["host"] = machine or host()
    return {"id": sample_id, "fingerprint": fingerprint.hex(), "verdict": said}


def is_whole(staging: Path, key: str, record: Record) -> bool:
    """Tell whether the files of a group that an earlier run finished are what its record says.

    They were never synced: a power cut may have emptied them.
    """
    try:
        files = {f"{key}.{field}": tuple(entry) for field, entry in record["chunks"].items()}
        for slot, sample in enumerate(s for s in record["samples"] if not s["verdict"]):
            for field, entry in sample["files"].items():
                files[f"{key}.{slot}.{field}"] = (entry["size"], entry["checksum"])
        return all(checksum(staging / name) == entry for name, entry in files.items())
    except (OSError, KeyError, TypeError, AttributeError):
        return False
