"""Data that the tests share: public sets where they are present, generated data otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Properties take the same examples each time, to judge a change alone; `make chaos` takes new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# Tests run side by side on tensors so small that a second thread costs more than it saves.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(os.environ.get("WARMSTORE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def _present(folder: str) -> Path:
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f"{path} is not there; set WARMSTORE_SHARED to the folder that holds {folder}/")
    return path


@pytest.fixture(scope="session")
def receipts() -> Path:
    """The folder of the public receipts: img/NNN.jpg and box/NNN.csv."""
    return _present("receipts")


@pytest.fixture(scope="session")
def exif_photos() -> Path:
    """The folder of one photograph in the EXIF orientations 1 to 8."""
    return _present("exif")
