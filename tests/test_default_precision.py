"""What is computed in where no precision is asked for, on processors with bf16 and on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ocr.training import DetectorModule, autocast, default_precision
from tests.support.shell import Shell
from warmstore import machine
from warmstore.configuration import load_config
from warmstore.workflows import epoch_ladder

SHORT = ("trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu")
BOTH = pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16-mixed"), (False, "32-true")])


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which the tiny run has been preprocessed."""
    shell = Shell(tmp_path_factory.mktemp("precision"))
    for command in ("data", "run"):
        assert shell(command).returncode == 0
    return shell


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    """A processor that computes bf16, or one that does not, and no GPU."""
    monkeypatch.setattr(autocast, "computes_bf16", lambda: bf16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_processor_is_known_as_torch_knows_it() -> None:
    if not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("this torch cannot be asked")
    assert autocast.computes_bf16() == bool(torch.cpu.get_capabilities().get("avx512_bf16"))


@BOTH
@pytest.mark.usefixtures("processor")
def test_the_default_suits_the_device(expected: str) -> None:
    for asked, resolved in (([], expected), (["trainer.precision=16-mixed"], "16-mixed")):
        assert load_config("tiny", asked)[0].trainer.resolved_precision() == resolved
    assert default_precision("cuda") == "16-mixed"
    told = machine.examine()["device"]
    assert f"{expected} is the default precision" in told
    assert ("no AVX512_BF16" in told) == (expected == "32-true")


@BOTH
@pytest.mark.usefixtures("processor")
def test_the_ladder_mixes_precision_where_that_is_the_default(expected: str) -> None:
    rungs = {rung.name: rung.precision for rung in epoch_ladder.epoch_rungs(load_config("tiny")[0], "val")}
    assert rungs["plain online"] == "32-true" and rungs["the store"] == expected
    assert ("+ mixed precision" in rungs) == (expected == "bf16-mixed")


@BOTH
@pytest.mark.usefixtures("processor")
def test_a_training_stopped_on_one_processor_goes_on_on_another(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, expected: str, bf16: bool
) -> None:
    """In the default of the other one, with the same weights; each says in what it computed."""
    step = DetectorModule.training_step

    def stopping(self: Any, *arguments: Any) -> Any:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(autocast, "computes_bf16", lambda: not bf16)
    monkeypatch.setattr(DetectorModule, "training_step", stopping)
    assert shell("train", *SHORT).returncode == 130
    monkeypatch.setattr(autocast, "computes_bf16", lambda: bf16)
    monkeypatch.setattr(DetectorModule, "training_step", step)
    found = shell.json("train", "--resume", *SHORT)
    assert (found["precision"], found["val_precision"]) == (expected, expected)
    assert Path(shell.folder / found["checkpoint"]).exists() and len(found["epochs"]) == 2
    done = shell("validate", "trainer.accelerator=cpu")
    assert f"validated in {expected}: H-mean" in done.stdout, done.stderr
