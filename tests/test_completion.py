"""What the tab key completes, and how soon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shell import PROJECT

HERE = {"PYTHONPATH": str(PROJECT), "WARMSTORE_CONFIGS": str(PROJECT / "configs")}


def completed(folder: Path, *words: str) -> list[str]:
    """Ask as bash does what the last of the words may become."""
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "warmstore"],
        env={**os.environ, **HERE, **asked, "_WARMSTORE_COMPLETE": "bash_complete"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.replace("plain,", "") for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("warmstore", "st"), ["status"]),
        (("warmstore", "bench", ""), ["epoch"]),
        (("warmstore", "run", "--re"), ["--rehash", "--retry"]),
        (("warmstore", "run", ""), ["canonicalize", "decode", "maps", "tensors"]),
        (("warmstore", "plan", ""), []),
        (("warmstore", "predict", "ph"), ["file,ph"]),
        (("warmstore", "verify", ""), ["file,"]),
        (("warmstore", "export", "canv"), ["canvas="]),
        (("warmstore", "plan", "trainer.max_e"), ["trainer.max_epochs="]),
        (("warmstore", "train", "stages.maps.shr"), ["stages.maps.shrink_ratio="]),
        (("warmstore", "train", "model.params.neck"), ["model.params.neck_channels="]),
        (("warmstore", "run", "--config", "s"), ["synthetic"]),
        (("warmstore", "run", "--config", "own"), ["own.yaml", "own_files/"]),
        (("warmstore", "run", "--config", "own_files/"), ["own_files/mine.yaml"]),
        (("warmstore", "run", "--config", "tiny", "--split", ""), ["train", "val"]),
        (("warmstore", "run", "--config", "none", "--split", ""), []),
    ],
)
def test_what_is_completed(tmp_path: Path, words: tuple[str, ...], found: list[str]) -> None:
    (tmp_path / "own_files").mkdir()
    for file in ("own.yaml", "own_files/mine.yaml", "own.txt"):
        (tmp_path / file).touch()
    assert completed(tmp_path, *words) == found


def test_bash_takes_what_is_completed_and_puts_no_space_behind_a_key(tmp_path: Path) -> None:
    program = tmp_path / "warmstore"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m warmstore \"$@\"\n")
    program.chmod(0o755)
    script = (
        'compopt() { echo compopt "$@"; }; complete() { :; }\n'
        'eval "$(_WARMSTORE_COMPLETE=bash_source warmstore)"\n'
        "COMP_WORDS=(warmstore run trainer.max_e) COMP_CWORD=2\n"
        '_warmstore_completion warmstore; echo "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, **HERE, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["compopt -o nospace", "trainer.max_epochs="]


def test_help_imports_no_more_than_it_prints() -> None:
    script = "import sys\nfrom warmstore.cli import _run\n_run(['--help'])\nprint(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    loaded = done.stdout.splitlines()[-1]
    assert not [name for name in ("numpy", "pydantic", "hydra", "rich", "ocr") if f"'{name}'" in loaded]
