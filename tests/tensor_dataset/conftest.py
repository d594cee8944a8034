from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.support.stores import tensors_store
from tests.support.tensor_batches import CANVAS


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tensors_store(tmp_path_factory.mktemp("store"), 11, CANVAS)


@pytest.fixture
def torch_threads() -> Iterator[Callable[[int], None]]:
    """Set how many threads torch computes on, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
