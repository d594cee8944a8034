"""Records of finished groups: written once in a while, at the end whatever happens, and read line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.records import read_records, record_file


@pytest.mark.parametrize(("seconds", "kept"), [(-1.0, {"a", "b"}), (3600.0, set())])
def test_records_are_written_once_in_a_while_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, kept: set[str]
) -> None:
    """What is not written yet is computed again after a kill; an error writes all that was finished."""
    monkeypatch.setattr("pipeline.records._SECONDS", seconds)
    with pytest.raises(ZeroDivisionError), record_file(tmp_path) as records:
        records.add("a", lambda: {"samples": [], "chunks": {}})
        records.add("b", lambda: {"samples": [], "chunks": {}})
        assert read_records(tmp_path).keys() == records.written.keys() == kept
        raise ZeroDivisionError
    assert read_records(tmp_path).keys() == records.written.keys() == {"a", "b"}


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    """The same thread goes on in its file, behind what a full disk cut."""
    with record_file(tmp_path) as records:
        records.add("a", lambda: {"samples": [], "chunks": {}})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b'\n["cut", {"sam')
    with record_file(tmp_path) as records:
        records.add("b", lambda: {"samples": [], "chunks": {}})
    assert list(tmp_path.iterdir()) == [path]
    assert read_records(tmp_path).keys() == {"a", "b"}
