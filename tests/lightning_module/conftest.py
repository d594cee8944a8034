from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.support.pages import Batch, sample_of


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These tensors are too small to share: threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small() -> list[Batch]:
    return [sample_of(seed, side=96) for seed in (1, 2, 3)]
