"""A training that is stopped goes on as if it had not been, and none passes for what it is not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ocr.training import DetectorModule
from tests.support.shell import PROJECT, Shell
from warmstore.configuration import load_config
from warmstore.workflows import checked_store, train_detector

SHORT = ("trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "model.overlap.workers=0")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which the tiny run has been preprocessed."""
    shell = Shell(tmp_path_factory.mktemp("training"))
    for command in ("data", "run"):
        assert shell(command).returncode == 0
    return shell


@pytest.fixture(autouse=True)
def runs(shell: Shell, tmp_path: Path) -> Iterator[Path]:
    """The folder of runs, in which each test finds only those that it makes itself."""
    folder = shell.folder / "work/tiny/runs"
    shutil.rmtree(folder, ignore_errors=True)  # what `run` has left
    folder.mkdir()
    yield folder
    folder.rename(tmp_path / "runs")


def stop_at(
    patch: pytest.MonkeyPatch, epoch: int, batch: int, error: type[BaseException] = KeyboardInterrupt
) -> None:
    """Have a training stop in a batch, once."""
    step = DetectorModule.training_step

    def training_step(self: Any, *arguments: Any) -> Any:
        if (self.current_epoch, arguments[1]) == (epoch, batch):
            patch.setattr(DetectorModule, "training_step", step)
            raise error("nothing works")
        return step(self, *arguments)

    patch.setattr(DetectorModule, "training_step", training_step)


def kept(run: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "batch"), [(0, 1), (1, 0), (2, 1)])
def test_a_training_that_goes_on_equals_one_that_was_not_stopped(
    shell: Shell, runs: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int
) -> None:
    whole = shell.json("train", *SHORT)
    stop_at(monkeypatch, epoch, batch)
    done = shell("train", *SHORT)
    stopped = max(runs.iterdir())
    assert done.returncode == 130 and f"stopped in epoch {epoch}, step " in done.stderr
    assert f"`warmstore train --resume={stopped.name} --config tiny {' '.join(SHORT)}` goes on" in done.stderr
    assert json.loads((stopped / "summary.json").read_text())["state"] == "interrupted"
    again = shell.json("train", "--resume", *SHORT)
    assert again["state"] == whole["state"] == "finished" and again["folder"].endswith(stopped.name)
    assert [again[name] for name in ("val", "cleval")] == [whole[name] for name in ("val", "cleval")]
    assert [row["epoch"] for row in again["epochs"]] == [row["epoch"] for row in whole["epochs"]]
    for name in ("best", "last"):
        one, other = (kept(shell.folder / found["folder"], name) for found in (whole, again))
        assert one["global_step"] == other["global_step"] and one["lr_schedulers"] == other["lr_schedulers"]
        drawn = [found["callbacks"]["RandomStates"]["torch"] for found in (one, other)]
        assert torch.equal(*drawn)
        for key, value in one["state_dict"].items():
            assert torch.equal(value, other["state_dict"][key]), key


def test_what_is_stopped_within_an_epoch_is_kept_as_it_was_before_it(
    shell: Shell, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 0, 0)
    assert shell("train", *SHORT).returncode == 130
    (folder,) = runs.iterdir()
    before = (folder / "checkpoints/last.ckpt").read_bytes()
    stop_at(monkeypatch, 0, 1)
    assert shell("train", f"--resume={folder.name}", *SHORT).returncode == 130
    assert (folder / "checkpoints/last.ckpt").read_bytes() == before and kept(folder, "last")["epoch"] == 0

    def interrupted(self: Any, stage: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DetectorModule, "setup", interrupted)  # before there is anything to go on with
    done = shell("train", *SHORT)
    assert done.returncode == 130 and "the same command continues" in done.stderr


def test_a_training_goes_on_with_other_settings_and_says_which(
    shell: Shell, runs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop_at(monkeypatch, 0, 1)
    assert shell("train", "trainer.max_epochs=1").returncode == 130
    done = shell.json("train", "--resume", "trainer.max_epochs=2")
    assert done["val"]["samples"] == 6 and kept(shell.folder / done["folder"], "last")["epoch"] == 1
    assert "goes on with other settings: trainer.max_epochs 1 → 2" in caplog.text
    for words in (["--resume"], ["--resume=none"]):
        refused = shell("train", *words)
        assert refused.returncode == 2 and "to go on with" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "validated"),
    [
        (("trainer.limit_val_batches=0", "model.early_stopping=2"), False),
        (("trainer.check_val_every_n_epoch=9",), True),
    ],
)
def test_a_training_without_validation_keeps_its_last_checkpoint(
    shell: Shell, runs: Path, caplog: pytest.LogCaptureFixture, settings: tuple[str, ...], validated: bool
) -> None:
    done = shell("train", "trainer.max_epochs=2", *settings)
    assert done.returncode == 0, done.stderr
    (folder,) = runs.iterdir()
    assert "nothing was validated while it trained" in caplog.text
    assert ("; nothing was validated" in done.stdout) != validated
    assert f"checkpoint: {folder.relative_to(shell.folder)}/checkpoints/last.ckpt" in done.stdout
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert kept(folder, "last")["epoch"] == 1
    shutil.copytree(folder, runs / "20260101-000000-train")
    (runs / "20260101-000000-train/summary.json").write_text('{"val": {"hmean"')  # a disk was full
    assert shell("report", "--format", "md").returncode == 0
    assert [row["epoch"] for row in shell.json("validate")["epochs"]] == [1]
    assert f"{folder.name} has only last.ckpt" in caplog.text


@pytest.mark.parametrize("settings", ["trainer.max_epochs=0", "trainer.fast_dev_run=true"])
def test_a_training_that_keeps_no_checkpoint_says_so(
    shell: Shell, runs: Path, caplog: pytest.LogCaptureFixture, settings: str
) -> None:
    done = shell("train", settings)
    assert done.returncode == 0 and "checkpoint: none was kept" in done.stdout, done.stderr
    assert "while it trained: there is no checkpoint" in caplog.text
    assert shell("train", "--resume").returncode == shell("validate").returncode == 2


def test_a_data_set_without_a_val_split_is_trained_on(shell: Shell, runs: Path) -> None:
    with contextlib.chdir(shell.folder):
        config = load_config("tiny", ["trainer.max_epochs=1"])[0]
        found = train_detector(config, {"train": checked_store(config, "train")})
    assert (found["state"], found["val"], found["epochs"]) == ("finished", None, [])
    assert kept(shell.folder / found["folder"], "last")["global_step"] > 0


def test_a_training_that_failed_is_not_taken_for_a_finished_one(
    shell: Shell, runs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finished = Path(shell.json("train", "trainer.max_epochs=1")["folder"])
    stop_at(monkeypatch, 0, 0, ValueError)
    assert shell("train").returncode == 1
    failed = max(runs.iterdir())
    summary = json.loads((failed / "summary.json").read_text())
    assert (summary["state"], summary["error"]) == ("failed", "nothing works")
    assert shell.json("validate")["checkpoint"] == f"{finished}/checkpoints/best.ckpt"
    assert f"{finished.name} is the newest finished training; newer: {failed.name} (failed)" in caplog.text


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", "transformer-engine", "64"])
def test_a_precision_that_misplaces_boxes_is_refused(shell: Shell, precision: str) -> None:
    done = shell("train", f"trainer.precision={precision}")
    assert done.returncode == 2 and "trainer.precision" in done.stderr and "32-true" in done.stderr


@pytest.mark.parametrize(
    "settings",
    [("trainer.precision=16-mixed",), ("trainer.precision=16", "trainer.val_precision=16-mixed")],
)
def test_a_precision_that_would_be_another_is_refused(
    shell: Shell, runs: Path, settings: tuple[str, ...]
) -> None:
    done = shell("train", "trainer.accelerator=cpu", *settings)
    assert done.returncode == 2 and "trainer.precision=16-mixed cannot be had here" in done.stderr
    assert list(runs.iterdir()) == []


@pytest.mark.slow
def test_two_ranks_make_one_folder_and_speak_once(shell: Shell, runs: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "WARMSTORE_CONFIGS": str(PROJECT / "configs"),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    ranks = ("trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=1")
    command = [sys.executable, "-m", "warmstore", "train", "--config", "tiny", *ranks, "--json"]
    done = subprocess.run(
        command, cwd=shell.folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (folder,) = runs.iterdir()
    assert json.loads(done.stdout)["folder"] == str(folder.relative_to(shell.folder))
    assert json.loads((folder / "summary.json").read_text())["state"] == "finished"
