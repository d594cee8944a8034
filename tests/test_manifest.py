"""A manifest is what was written, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.digest import digest
from pipeline.errors import StoreError
from pipeline.store import MANIFEST, Manifest, read_manifest

FILES = {"image/c.0": (7, "0" * 32), 'odd "name"\n/ü': (0, "a" * 32)}


@pytest.mark.parametrize("files", [{}, FILES])
def test_a_manifest_reads_as_it_was_written(tmp_path: Path, files: dict[str, tuple[int, str]]) -> None:
    written = Manifest(files)
    (tmp_path / MANIFEST).write_bytes(written.dump())
    assert read_manifest(tmp_path) == written
    assert read_manifest(tmp_path).digest == written.digest


def test_the_digest_is_of_names_in_utf_8(tmp_path: Path) -> None:
    """Another spelling of the same entries would be another digest for the same bytes."""
    spelled = b'{"image/c.0":[7,"' + b"0" * 32 + '"],"odd \\"name\\"\\n/ü":[0,"'.encode() + b"a" * 32 + b'"]}'
    assert Manifest(dict(reversed(FILES.items()))).digest == digest(spelled).hex()


def test_any_changed_or_missing_byte_is_damage(tmp_path: Path) -> None:
    data, path = Manifest(FILES).dump(), tmp_path / MANIFEST
    for at in range(len(data)):
        for damaged in (data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(StoreError, match="damaged"):
                read_manifest(tmp_path)
