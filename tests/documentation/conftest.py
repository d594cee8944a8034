from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.documentation.blocks import PROJECT
from tests.support.shell import Shell


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has after `make canonicalize preprocess train`, in small."""
    folder = tmp_path_factory.mktemp("documentation") / "warmstore"
    (folder / "configs").mkdir(parents=True)
    small = (PROJECT / "configs/tiny.yaml").read_text().replace("work_dir: work/tiny", "work_dir: work")
    assert "work_dir: work\n" in small
    (folder / "configs/synthetic.yaml").write_text(small)
    _tools(folder)
    shell = Shell(folder, folder / "configs")
    for command in ("run", "train"):
        done = shell.typed(command)
        assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "data/tiny", folder / "photos")  # a reader's own
    return folder


def _tools(folder: Path) -> None:
    """Let `make` find an environment that is ready: this one."""
    shutil.copy(PROJECT / "Makefile", folder)
    shutil.copytree(PROJECT / "scripts", folder / "scripts")
    for name in ("pyproject.toml", "constraints.txt", "tests/referees.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    tools = folder / ".venv/bin"
    tools.mkdir(parents=True)
    for name, words in {"python": "", "warmstore": "-m warmstore"}.items():
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        tool.chmod(0o755)
    (tools / "activate").write_text(f"export PATH={tools}:$PATH\n")
    (folder / ".venv/.ready").touch()


@pytest.fixture
def workplace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `finished` that a page may change, and install packages into."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    shutil.copytree(finished, tmp_path / "warmstore", symlinks=True)
    return tmp_path / "warmstore"
