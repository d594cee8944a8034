from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.shell import Shell

NAME = '"><script>alert(1)</script>.jpg'
TEXT = "</title></script><script>alert(2)</script><img src=x onerror=alert(3)>"


@pytest.fixture(scope="package")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with a trained run whose data has everything that a report speaks of.

    In `val`: an image cut short, one that is missing, a hostile name and text, a label outside its image,
    and a copy of an image of `train`. Its report is `report.html`.
    """
    shell = Shell(tmp_path_factory.mktemp("reported"))
    assert shell("data").returncode == 0
    root = shell.folder / "data/tiny"
    labels = root / "val.json"
    document = json.loads(labels.read_text())
    images = document["images"]
    (root / "val/receipt-00000.jpg").write_bytes((root / "val/receipt-00000.jpg").read_bytes()[:9000])
    (root / "val/receipt-00001.jpg").unlink()
    (root / "val" / NAME).parent.mkdir(parents=True)
    (root / "val/receipt-00002.jpg").rename(root / "val" / NAME)
    images[NAME] = images.pop("receipt-00002.jpg")
    images[NAME]["words"]["0001"]["text"] = TEXT
    images["receipt-00003.jpg"]["words"]["0001"]["points"] = [[-9, -9], [40, -9], [40, 20], [-9, 20]]
    shutil.copy(root / "train/receipt-00004.jpg", root / "val/copy.jpg")
    images["copy.jpg"] = json.loads((root / "train.json").read_text())["images"]["receipt-00004.jpg"]
    labels.write_text(json.dumps(document))
    for command in ("run", "train", "report"):
        done = shell(command)
        assert done.returncode == 0, done.stderr
    return shell


@pytest.fixture(scope="package")
def page(reported: Shell) -> Path:
    """The report as a page."""
    return reported.folder / "report.html"
