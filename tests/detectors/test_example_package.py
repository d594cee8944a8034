"""The example package: installed as a user would, then trained and validated by the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ocr.detectors import find_detector, installed_detectors
from ocr.params import BoxParams
from ocr.training import DetectorModule
from tests.support.pages import LIGHTNING_WARNS, Batch
from tests.support.shell import PROJECT, Shell

pytestmark = LIGHTNING_WARNS
FEW_STEPS = ("trainer.max_steps=3", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1")
CHOSEN = ("model.detector=psenet", "model.params.width=32", "data.generate.train=4", "data.generate.val=2")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package in a folder of its own, on Python's path."""
    pytest.importorskip("hatchling", reason="the package is built with hatchling")
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command = [*pip, "--disable-pip-version-check", "--target", str(target), str(PROJECT / "examples/psenet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(target)
        yield


@pytest.mark.usefixtures("installed")
def test_it_is_trained_and_validated_by_name(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for command in ("data", "run"):
        done = shell(command, *CHOSEN)
        assert done.returncode == 0, done.stderr
    trained = shell.json("train", *CHOSEN, *FEW_STEPS)
    assert trained["val"]["samples"] == 2 and 0 <= trained["val"]["hmean"] <= 1
    validated = shell.json("validate", *CHOSEN)
    assert validated["val"] == trained["val"]
    loaded = DetectorModule.from_checkpoint(tmp_path / trained["checkpoint"])
    assert loaded.identity.as_json()["detector"] == "psenet"
    assert loaded.identity.as_json()["params"]["width"] == 32
    other = shell("validate", *CHOSEN, "model.params.width=64")
    assert other.returncode == 2 and "params.width 32 → 64" in other.stderr
    dbnet = shell("validate", "--checkpoint", trained["checkpoint"])
    assert dbnet.returncode == 2 and "detector psenet → dbnet" in dbnet.stderr


@pytest.mark.usefixtures("installed")
def test_its_decoder_finds_the_regions_of_perfect_maps(pages: list[Batch]) -> None:
    from psenet.loss import drawn_regions

    entry = find_detector("psenet")
    assert "psenet" in installed_detectors() and entry.decoder is not None
    decoder = entry.decoder(entry.params(), BoxParams())
    for page in pages:
        batch = {"polygons": [page["polygons"]], "sample_id": [page["sample_id"]]}
        regions = drawn_regions({**batch, "inverse_matrix": page["inverse_matrix"][None]}, (128, 128))
        maps = np.concatenate((page["prob_maps"].numpy(), regions[0].numpy())).astype(np.float32)
        found = decoder.decode_one(maps, page["inverse_matrix"].numpy(), page["size"].numpy())
        assert len(found.polygons) == len(page["polygons"]) and (found.scores == 1).all()
        centres = sorted(polygon.mean(axis=0).tolist() for polygon in found.polygons)
        wanted = sorted(polygon.mean(axis=0).tolist() for polygon in page["polygons"])
        np.testing.assert_allclose(centres, wanted, atol=4)
