from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dask_processes import Cluster


@pytest.fixture(scope="session")
def _clusters() -> Iterator[list[Cluster]]:
    """Clusters that tests have started; the last one serves the next test, too, while its scheduler lives."""
    started: list[Cluster] = []
    yield started
    for cluster in started:
        cluster.end()


@pytest.fixture
def cluster(_clusters: list[Cluster], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A scheduler and two workers, each a process of its own."""
    if not _clusters or _clusters[-1].scheduler.poll() is not None:
        _clusters.append(Cluster(tmp_path_factory.mktemp("cluster")))
    _clusters[-1].refill(2)
    return _clusters[-1]
