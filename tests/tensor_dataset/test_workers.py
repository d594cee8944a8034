"""TensorDataset in processes and threads: all read the same, and nothing outlives its reader."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader, IterableDataset

from ocr.datasets import TensorDataset
from tests.support.stores import sample, tensors_store
from tests.support.tensor_batches import CANVAS, assert_batch

# ------------------------------------------------------------------------------- processes


@pytest.mark.parametrize(
    "method",
    [
        "fork",
        pytest.param("spawn", marks=pytest.mark.slow),
        pytest.param("forkserver", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_workers_started_in_any_way_read_the_same(path: Path, method: str) -> None:
    dataset = TensorDataset(path)
    assert len(pickle.dumps(dataset)) < 4096
    loader = DataLoader(
        dataset, batch_size=3, num_workers=2, multiprocessing_context=method, persistent_workers=True
    )
    for _ in range(2):
        rows = iter(range(11))
        for batch in loader:
            assert_batch(batch, [next(rows) for _ in batch["sample_id"]])
    assert dataset.stats().samples == 22


class InOrder(IterableDataset[dict[str, Any]]):
    """What makes its batches itself, in a worker."""

    def __init__(self, dataset: TensorDataset) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.dataset.batches(2)


@pytest.mark.parametrize("by", ["batches", "samples", "itself"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_worker_sends_what_was_asked_for_alone_and_keeps_none_of_it(path: Path, by: str) -> None:
    dataset = TensorDataset(path, fields=("image", "size"))
    loader: DataLoader[Any] = DataLoader(
        InOrder(dataset) if by == "itself" else dataset,
        batch_size=2 if by == "batches" else None,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    for _ in range(2):
        row = 0
        for batch in loader:
            sent = {"image": batch.get("images", batch.get("image")), "size": batch["size"]}
            for name, tensor in sent.items():
                assert tensor.untyped_storage().nbytes() == tensor.nbytes
                expected = sample(row, *CANVAS)[name]
                np.testing.assert_array_equal(tensor.view(-1, *expected.shape)[0], expected)
                tensor.zero_()
            row += 1 if by == "samples" else len(batch["sample_id"])
        assert row == 11


def test_a_loader_without_workers_gets_views(path: Path) -> None:
    dataset = TensorDataset(path)
    batches = list(DataLoader(dataset, batch_size=4))
    assert batches[1]["images"].data_ptr() == dataset[4:8]["images"].data_ptr()
    assert_batch(batches[2], [8, 9, 10])


def _first_sum(dataset: TensorDataset, results: Any) -> None:
    results.put(int(dataset[0:2]["images"].sum()))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_while_a_batch_is_prepared_reads_on(path: Path) -> None:
    dataset = TensorDataset(path)
    batches = dataset.batches(2, "shuffled")
    next(batches)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_first_sum, args=(dataset, results))
    child.start()
    assert results.get(timeout=30) == int(dataset[0:2]["images"].sum())
    child.join()
    assert sum(len(batch["sample_id"]) for batch in batches) == 9


def test_a_dataset_that_nobody_holds_lets_go_of_everything_at_once(path: Path) -> None:
    dataset = TensorDataset(path)
    dataset.warm()
    list(dataset.batches(2, "shuffled"))
    gone = weakref.ref(dataset.store)
    del dataset
    assert gone() is None


def test_a_reader_keeps_its_generation_while_another_is_published(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 4, CANVAS)
    dataset = TensorDataset(path)
    travelled = pickle.dumps(dataset)
    path.unlink()
    (tmp_path / "new").mkdir()
    path.symlink_to(tensors_store(tmp_path / "new", 2, CANVAS).resolve())
    assert_batch(dataset[:], [0, 1, 2, 3])
    assert len(pickle.loads(travelled)) == 4
    assert len(TensorDataset(path)) == 2


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_end_with_the_iteration(
    path: Path, threads: int, torch_threads: Callable[[int], None]
) -> None:
    torch_threads(threads)
    before = threading.active_count()
    batches = TensorDataset(path).batches(2, "shuffled")
    next(batches)
    assert threading.active_count() > before
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_any_number_of_threads_gathers_the_same(
    tmp_path: Path, threads: int, codec: str, torch_threads: Callable[[int], None]
) -> None:
    torch_threads(threads)
    dataset = TensorDataset(tensors_store(tmp_path, 23, CANVAS, 3, codec))
    for batch in dataset.batches(4, "shuffled", seed=threads):
        assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])
