"""The folders of runs: which of them `gc` removes, and only where it is asked to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.shell import Shell
from warmstore.configuration import load_config
from warmstore.workflows import run_folder

OLD = (
    "20260101-000000-train",  # the newest with a checkpoint
    "20260102-000000-train",
    "20260102-000000-train-2",
    "20260103-000000-overfit",
    "20260104-000000-validate",
    "20260105-000000-run",
    "20260106-000000-run",
    "20260107-000000-train",
    "notes",
)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    runs = tmp_path / "work/tiny/runs"
    for name in OLD:
        (runs / name).mkdir(parents=True)
    (runs / "20260108-000000-train").symlink_to(tmp_path)
    (runs / OLD[0] / "checkpoints").mkdir()
    (runs / OLD[0] / "checkpoints/best.ckpt").write_text("weights")
    return Shell(tmp_path)


def names(shell: Shell) -> set[str]:
    return {path.name for path in (shell.folder / "work/tiny/runs").iterdir()}


def test_runs_go_only_where_asked_and_the_newest_of_each_kind_stay(shell: Shell) -> None:
    before = names(shell)
    assert shell.json("gc")["runs"] == {"removed": [], "in_use": [], "freed": 0}
    found = shell.json("gc", "--runs", "1", "--dry-run")["runs"]
    assert found["removed"] == ["20260102-000000-train", "20260102-000000-train-2", "20260105-000000-run"]
    assert names(shell) == before
    assert "runs/20260105-000000-run: removed" in shell("gc", "--runs", "1").stdout
    assert names(shell) == before - set(found["removed"])
    assert shell("gc", "--runs", "0").returncode == 2


def test_a_run_under_way_stays(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "20260106-120000")
    config = load_config("tiny")[0].model_copy(update={"work_dir": shell.folder / "work/tiny"})
    with run_folder(config, "train") as folder:
        found = shell.json("gc", "--runs", "1")["runs"]
        assert found["in_use"] == [folder.name] and folder.is_dir()
    (folder / "log.csv").write_bytes(bytes(1000))
    gone = {"removed": [folder.name], "in_use": [], "freed": 1000}
    assert shell.json("gc", "--runs", "1")["runs"] == gone
    assert not folder.exists()
