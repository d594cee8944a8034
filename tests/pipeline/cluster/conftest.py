from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dask_processes import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler and two workers, each a process of its own."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with Cluster(folder) as started:
        started.join()
        started.join()
        started.wait(2)
        yield started
