"""Tables on terminals of any width, and colours where somebody sees them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support.shell import PROJECT
from warmstore import show

COLUMNS = ("split", "stage", "samples", "size", "state", "counts")
ROWS = [
    ("train", "canonicalize", 48, "1.20 MB", "fresh", "upright declared 48; link 48"),
    ("训练集", "tensors", 40, "100.20 MB", "stale: stages.maps.shrink_ratio 0.4 → 0.5 (6)", "turbojpeg 204"),
    ("val", "maps", 6, "0 B", "damaged: 1 file is missing or of another size (receipt-00003.jpg)", ""),
]
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("room", [20, 40, 60, 72, 80, 100, 120, 160, 240])
def test_a_table_drops_columns_and_breaks_no_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(room))
    show.table("status", COLUMNS, ROWS, least=("counts", "size", "samples"))
    _, head, *lines = capsys.readouterr().out.splitlines()
    shown = head.split()
    assert shown == [name for name in COLUMNS if name in shown]
    assert {"split", "stage", "state"} <= set(shown)
    left_out = [name for name in COLUMNS if name not in shown]
    end = next((at for at, line in enumerate(lines) if line.startswith("without ")), len(lines))
    table, told = lines[:end], " ".join(lines[end:])
    if left_out:
        named = ", ".join(("counts", "size", "samples")[: len(left_out)])
        assert told.startswith(f"without {named}: a wider terminal")
    words = " ".join(table).split()
    for row in ROWS:
        for name, cell in zip(COLUMNS, row, strict=True):
            assert name not in shown or set(str(cell).split()) <= set(words)
    if room >= 60:
        assert max(map(cell_len, [head, *lines])) <= room
    assert (left_out == []) == (room >= 100)


def test_without_a_choice_columns_go_from_the_right(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    columns = ("rung", "epoch", "time", "speed-up", "samples")
    show.table("measured", columns, [("baseline", 0, "1.00 s", "1 ×", 6)])
    assert capsys.readouterr().out.splitlines()[1].split() == ["rung", "epoch", "time"]


def in_a_terminal(folder: Path, *words: str, **environment: str) -> str:
    """Run warmstore in a terminal of 60 columns; gives what it shows."""
    ours, its = pty.openpty()
    unwanted = ("NO_COLOR", "COLUMNS", "FORCE_COLOR")
    known = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        [sys.executable, "-m", "warmstore", *words],
        cwd=folder,
        env={**known, "PYTHONPATH": str(PROJECT), "TERM": "xterm", "COLUMNS": "60", **environment},
        stdout=its,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(its)
    assert done.returncode == 0, done.stderr
    shown = b""
    with suppress(OSError):  # how a terminal ends whose other side is closed
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    return shown.decode()


def test_states_are_coloured_in_a_terminal_unless_that_is_unwanted(tmp_path: Path) -> None:
    words = ("status", "--config", "tiny", "--split", "val")
    drawn = in_a_terminal(tmp_path, "data", "--config", "tiny")
    assert "\x1b" not in drawn
    coloured = in_a_terminal(tmp_path, *words)
    assert "\x1b[33mstale" in coloured
    plain = in_a_terminal(tmp_path, *words, NO_COLOR="1")
    assert "\x1b" not in plain
    assert ESCAPES.sub("", coloured) == plain
    assert max(len(line) for line in plain.splitlines()[1:-1]) <= 60
