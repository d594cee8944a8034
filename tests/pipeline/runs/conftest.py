from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.toy import TEXTS, write


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    write(folder, **TEXTS)
    return folder
