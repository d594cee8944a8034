from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.toy import write


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    write(folder, a="one\ntwo", b="12345", c="bad luck", d="a longer line of text")
    return folder
