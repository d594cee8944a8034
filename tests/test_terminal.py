"""Log lines and progress bars share a terminal; what is long is shortened; the summary comes last."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.callbacks import TQDMProgressBar

from ocr.jit import compiled
from tests.support.shell import PROJECT
from warmstore.commands import train
from warmstore.configuration import TrainerConfig
from warmstore.workflows import lightning_trainer

RICH = """
import logging
from warmstore import show
from warmstore.log_lines import show_warnings
show_warnings()
with show.progress() as progress:
    advance = progress.begin("train", "maps", 3)
    for number in range(3):
        advance(1)
        logging.getLogger("ocr.x").warning("told %d", number)
"""
TQDM = """
import logging
from tqdm import tqdm
from warmstore.log_lines import show_everything
show_everything()
for number in tqdm(range(3), mininterval=0):
    logging.getLogger("pipeline.x").info("told %d", number)
"""


def shown(script: str) -> str:
    """Run a script in a terminal of 80 columns; gives all that it writes there."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 80))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=its, stderr=its)
    os.close(its)
    written = b""
    with suppress(OSError):  # how a terminal ends whose other side is closed
        while part := os.read(ours, 4096):
            written += part
    os.close(ours)
    assert process.wait() == 0, written
    return written.decode()


def lines_left(written: str) -> list[str]:
    """Give what is to be seen at last: a return or an erased line takes back what stands in it."""
    left = [""]
    for part in re.split(r"(\r\n|\n|\r|\x1b\[2K|\x1b\[\d*A)", written):
        if part in ("\r\n", "\n"):
            left.append("")
        elif part in ("\r", "\x1b[2K"):
            left[-1] = ""
        elif part.endswith("A"):
            del left[-int(part[2:-1] or 1) :]
        else:
            left[-1] += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", part)
    return left


@pytest.mark.parametrize("script", [RICH, TQDM], ids=["rich", "tqdm"])
def test_a_log_line_stands_alone_and_the_bar_stays_one(script: str) -> None:
    left = lines_left(shown(script))
    assert [line.strip() for line in left if "told" in line] == ["told 0", "told 1", "told 2"]
    assert sum("3/3" in line for line in left) == 1


def test_two_hundred_epochs_are_ten_rows(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"samples": 4, "wall_s": 1.0, "data_wait_s": 0.1, "forward_s": 0.5, "hits": 4, "misses": 0}
    summary: dict[str, Any] = {
        "epochs": [{"epoch": number, **row} for number in range(200)],
        "val": {"hmean": 0.5, "precision": 0.5, "recall": 0.5, "samples": 4, "quarantined": 0},
        "store": {"path": "tensors.zarr", "digest": "0" * 32},
        "precision": "32-true",
        "checkpoint": "best.ckpt",
        "folder": "runs/x",
    }
    train.show_summary(summary, "trained in 1 s")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:13]] == ["0", "1", "…", *map(str, range(192, 200))]
    assert "190 more are in runs/x/summary.json" in lines
    assert lines[-1].endswith("everything of this run: runs/x")
    summary["epochs"] = summary["epochs"][:10]
    train.show_summary(summary, "trained in 1 s")
    assert "…" not in capsys.readouterr().out


def test_compiling_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocr.jit._told.said", False)
    names: dict[str, Any] = {}
    exec("def one(x): return x + 1\ndef two(x): return x + 2", names)  # of no file: nothing is cached
    one, two = compiled(names["one"]), compiled(names["two"])
    assert caplog.messages == []
    assert (one(1), two(1), one(2)) == (2, 3, 3)
    (told,) = caplog.messages
    assert told.startswith("compiling loops for this processor")


def test_decode_loads_what_resizes_before_it_is_timed() -> None:
    script = (
        "import sys\nfrom stages import Decode\nstage = Decode()\n"
        "print('numba' in sys.modules)\nstage.prepare()\nprint('numba' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]


def test_the_bar_does_not_name_the_folder_of_the_logs(tmp_path: Path) -> None:
    trainer = lightning_trainer(TrainerConfig(enable_progress_bar=True, accelerator="cpu"), tmp_path, [])
    assert "v_num" in TQDMProgressBar().get_metrics(trainer, None)
    assert "v_num" not in trainer.progress_bar_callback.get_metrics(trainer, None)
