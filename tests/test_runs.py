"""The folders of runs: their order, which one is validated, goes on, or is removed, and only where asked."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from tests.support.shell import Shell
from warmstore.configuration import load_config
from warmstore.workflows import new_run, newest_checkpoint, resumable, run_folder

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
    ended(runs / OLD[0], "finished")
    return Shell(tmp_path)


def ended(folder: Path, state: str | None, checkpoint: str = "best") -> Path:
    """Make a training's folder; without a state it was killed."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / f"checkpoints/{checkpoint}.ckpt").write_text("weights")
    if state:
        (folder / "summary.json").write_text(json.dumps({"state": state}))
    return folder


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


def test_a_run_under_way_stays(shell: Shell) -> None:
    config = load_config("tiny")[0].model_copy(update={"work_dir": shell.folder / "work/tiny"})
    old = shell.folder / "work/tiny/runs/20260106-120000-000000-train"
    old.mkdir()
    with run_folder(config, "train", old) as run:
        found = shell.json("gc", "--runs", "1")["runs"]
        assert found["in_use"] == [old.name] and old.is_dir()
        (run.folder / "log.csv").write_bytes(bytes(1000))
    (old / "summary.json").unlink()
    gone = {"removed": [old.name], "in_use": [], "freed": 1000}
    assert shell.json("gc", "--runs", "1")["runs"] == gone
    assert not old.exists()


def test_runs_are_in_the_order_in_which_they_began_wherever_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for zone in ("Asia/Shanghai", "UTC", "America/Los_Angeles"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        names += [new_run(tmp_path, kind).name for kind in ("train", "validate")]
    monkeypatch.undo()
    time.tzset()
    assert names == sorted(set(names)) and all(name.endswith(("train", "validate")) for name in names)


@pytest.mark.parametrize(
    ("newer", "taken"),
    [
        ([], 0),
        ([("interrupted", "best")], 0),
        ([("failed", "last")], 0),
        ([(None, "last")], 0),
        ([("finished", "last")], 1),
        ([("finished", "best"), (None, "best")], 1),
    ],
)
def test_the_newest_finished_training_is_validated_and_a_newer_one_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, newer: list[tuple[str | None, str]], taken: int
) -> None:
    made = [ended(tmp_path / "20260101-000000-train", "finished")]  # as they were named before
    made += [ended(new_run(tmp_path, "train"), *how) for how in newer]
    assert newest_checkpoint([tmp_path]).parents[1] == made[taken]
    assert ("newer: " in caplog.text) == (taken < len(newer))
    assert ("only last.ckpt" in caplog.text) == (newer == [("finished", "last")])
    resumable_ones = [
        folder
        for folder, (state, last) in zip(made[1:], newer, strict=True)
        if state != "finished" and last == "last"
    ]
    with nullcontext() if resumable_ones else pytest.raises(ConfigError, match="to go on with"):
        assert resumable([tmp_path]) == resumable_ones[-1]
    assert resumable_ones == [] or resumable([tmp_path], resumable_ones[0].name) == resumable_ones[0]


def test_a_finished_training_that_goes_on_is_under_way_and_after_a_kill_unfinished(tmp_path: Path) -> None:
    config = load_config("tiny", [f"runs_dir={tmp_path}"])[0]
    folder = ended(new_run(tmp_path, "train"), "finished", "last")
    with run_folder(config, "train", folder):
        with pytest.raises(ConfigError, match=f"{folder.name} is under way; stop it first"):
            resumable([tmp_path], folder.name)
        with pytest.raises(ConfigError, match=f"{folder.name} is under way"):
            newest_checkpoint([tmp_path])
        shutil.copytree(folder, killed := new_run(tmp_path, "train"))  # what a kill would leave
    assert resumable([tmp_path]) == killed and newest_checkpoint([tmp_path]).is_relative_to(folder)


def test_a_training_that_has_not_finished_is_not_validated_unasked(tmp_path: Path) -> None:
    folder = ended(new_run(tmp_path, "train"), "interrupted")
    with pytest.raises(ConfigError, match=rf"of a finished training \({folder.name} is interrupted\)"):
        newest_checkpoint([tmp_path])
