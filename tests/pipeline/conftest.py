from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import failpoints
from tests.support.toy import write


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    write(folder, a="one\ntwo", b="12345", c="bad luck", d="a longer line of text")
    return folder


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    failpoints.arm("")
