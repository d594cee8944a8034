"""Files are whole or not there, and what a killed run left half goes."""

from __future__ import annotations

import os
from pathlib import Path

import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files import checksum, free_bytes, write_aside, write_new
from pipeline.store import encode_text, zarr_metadata
from tests.support.toy import run


def test_a_new_file_replaces_none(tmp_path: Path) -> None:
    write_new(tmp_path / "file", b"one")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "file", b"other")
    assert (tmp_path / "file").read_bytes() == b"one"
    write_aside(tmp_path / "file", b"other")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"other"]
    assert checksum(tmp_path / "file")[0] == len(b"other")


def test_room_is_that_of_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not/there/yet") > 0


def test_half_written_files_go_with_the_next_run_that_computes(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    half = [work / "val/.hashes.1-1.tmp", work / "val/.staging/read/some.records.1-1.tmp"]
    for path in half:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    half.append(work / "val/.link")  # by which a run sees whether there can be links
    half[-1].symlink_to("probe")
    run(raw, work, ["read"])
    assert not [path for path in half if os.path.lexists(path)]


@settings(max_examples=30)
@given(st.lists(st.text(max_size=20), max_size=5))
def test_texts_are_written_as_zarr_reads_them(texts: list[str]) -> None:
    data = encode_text(texts)
    assert numcodecs.VLenUTF8().decode(data).tolist() == texts
    assert numcodecs.VLenUTF8().encode(np.array(texts, dtype=object)) == data
    assert zarr_metadata.decode_text(data) == texts


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3), st.data())
def test_a_chunk_of_texts_that_is_cut_is_damaged(texts: list[str], data: st.DataObject) -> None:
    whole = encode_text(texts)
    with pytest.raises(ValueError, match="chunk"):
        zarr_metadata.decode_text(whole[: data.draw(st.integers(0, len(whole) - 1))])
