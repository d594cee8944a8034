"""`plan --samples` predicts from a probe, and a run puts the prediction beside the truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.shell import Shell


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("forecast"))
    assert shell("data", "--train", "2", "--val", "12").returncode == 0
    return shell


VAL = ("--split", "val", "executor=threads", "work_dir=new")


def test_what_is_predicted_stands_beside_what_a_run_took(shell: Shell) -> None:
    predicted = shell.json("plan", "--samples", "12", *VAL)["val"]
    assert not Path(shell.folder, "new", "val").exists()
    done = shell("run", *VAL)
    assert "val, as predicted" in done.stdout
    (record,) = Path(shell.folder, "new", "runs").glob("*/stages.json")
    for name, stage in json.loads(record.read_text())["val"].items():
        assert stage["predicted"]["bytes"] == predicted["stages"][name]["bytes"]
        assert stage["bytes"] == pytest.approx(stage["predicted"]["bytes"], rel=0.25)
    assert "predicted" not in shell("run", *VAL).stdout


def test_a_million_samples_on_many_workers(shell: Shell) -> None:
    found = shell.json("plan", "--samples", "1000000", "--workers", "64", *VAL)["val"]
    assert found["stages"]["canonicalize"]["files"] == 1_000_000
    assert found["stages"]["tensors"]["files"] == 5 * -(-1_000_000 // 256)
    told = " ".join(found["limits"])
    assert "chunks hold 256 samples" in told
    assert "a chunk of tensors takes 134.22 MB" in told
    assert "more are taken to be as fast each" in told


@pytest.mark.parametrize("words", [("--samples", "0"), ("--workers", "none")])
def test_numbers_are_held_to_what_makes_sense(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell("plan", *words, *VAL).returncode == 2
