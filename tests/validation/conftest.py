from __future__ import annotations

import pytest

from tests.support.pages import Batch, sample_of


@pytest.fixture(scope="module")
def samples() -> list[Batch]:
    texts = ["TOTAL", "4.20", "MILK", "BREAD"]
    return [{**sample_of(seed), "text": texts} for seed in range(5)]
