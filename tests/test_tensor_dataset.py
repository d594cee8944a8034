"""TensorDataset: the store's samples in any order and process, without a copy where none is needed."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from ocr.datasets import TensorDataset
from ocr.datasets.batches import BufferPool, as_collated, collate
from ocr.datasets.stored import CacheParams
from pipeline.errors import ConfigError, StoreError
from tests.support.stores import fields, sample, tensors_store, write_store

CANVAS = (64, 64)
RECIPE = {"stage": "tensors", "version": 1, "parameters": {}, "libraries": {}, "upstream": {}}
ARRAYS = {
    "image": "images",
    "prob_map": "prob_maps",
    "prob_mask": "prob_masks",
    "thresh_map": "thresh_maps",
    "thresh_mask": "thresh_masks",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tensors_store(tmp_path_factory.mktemp("store"), 11, CANVAS)


@pytest.fixture
def torch_threads() -> Iterator[Callable[[int], None]]:
    """Set how many threads torch computes on, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def assert_batch(batch: dict[str, Any], rows: list[int], canvas: tuple[int, int] = CANVAS) -> None:
    """Compare every key of a batch with the values that were stored."""
    truth = [sample(row, *canvas) for row in rows]
    assert batch["sample_id"] == [f"folder/{row:05}.jpg" for row in rows]
    for name, key in ARRAYS.items():
        np.testing.assert_array_equal(batch[key].numpy(), np.stack([t[name] for t in truth]))
    np.testing.assert_array_equal(batch["size"].numpy(), np.stack([t["size"] for t in truth]))
    product = batch["inverse_matrix"].numpy() @ np.stack([t["matrix"] for t in truth])
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-12)
    for polygons, ignore, expected in zip(batch["polygons"], batch["ignore"], truth, strict=True):
        assert len(polygons) == len(expected["points"])
        for found, points in zip(polygons, expected["points"], strict=True):
            np.testing.assert_array_equal(found, points)
        np.testing.assert_array_equal(ignore, expected["ignore"])


def test_a_sample_is_what_was_stored(path: Path) -> None:
    dataset = TensorDataset(path)
    for index in (0, 3, -1):
        assert_batch(collate([dataset[index]]), [index % 11])
    assert dataset[3]["image"].shape == (3, 64, 64)
    assert dataset[3]["image"].dtype == torch.uint8


def test_printing_says_what_is_read_and_how(path: Path) -> None:
    dataset = TensorDataset(path, ("image", "size"), limit=3, cache=CacheParams(mode="off"))
    expected = f"TensorDataset of {path}: 3 of 11 samples, cache mode off, fields image, size"
    assert repr(dataset) == expected


@pytest.mark.parametrize("rows", [[0, 1, 2], [10], [5, 3, 3, 9], [-1, 0], []])
def test_getitems_gives_a_collated_batch_of_any_rows(path: Path, rows: list[int]) -> None:
    batch = TensorDataset(path).__getitems__(rows)
    assert_batch(batch, [row % 11 for row in rows]) if rows else None
    assert len(batch["images"]) == len(rows)


def test_slices_are_batches_and_views(path: Path) -> None:
    dataset = TensorDataset(path)
    assert_batch(dataset[2:7], [2, 3, 4, 5, 6])
    assert_batch(dataset[::-2], list(range(11))[::-2])
    assert dataset[2:7]["images"].data_ptr() == dataset[2:3]["images"].data_ptr()


@pytest.mark.parametrize("batch_size", [1, 4, 11, 12])
@pytest.mark.parametrize("drop_last", [False, True])
def test_sequential_batches_are_views_of_everything_in_order(
    path: Path, batch_size: int, drop_last: bool
) -> None:
    dataset = TensorDataset(path)
    batches = list(dataset.batches(batch_size, drop_last=drop_last))
    count = 11 - 11 % batch_size if drop_last else 11
    rows = [list(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)]
    assert len(batches) == len(rows)
    base = dataset[0:1]["images"].data_ptr()
    for batch, expected in zip(batches, rows, strict=True):
        assert_batch(batch, expected)
        assert batch["images"].data_ptr() == base + expected[0] * 3 * 64 * 64


def test_shuffled_batches_are_everything_once_and_the_same_for_a_seed(path: Path) -> None:
    dataset = TensorDataset(path)

    def order(seed: int) -> list[str]:
        return [name for batch in dataset.batches(4, "shuffled", seed=seed) for name in batch["sample_id"]]

    assert sorted(order(1)) == dataset.sample_ids
    assert order(1) == order(1) != order(2)
    for batch in dataset.batches(4, "shuffled", seed=3):
        assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])


def test_batches_that_are_kept_are_never_overwritten(path: Path) -> None:
    dataset = TensorDataset(path)
    for _ in range(3):
        kept = [*dataset.batches(2, "shuffled", seed=5), *dataset.batches(2, [3, 1, 4, 1, 5])]
        for batch in kept:
            assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])


def test_buffers_are_reused_once_nothing_refers_to_them() -> None:
    pool = BufferPool()
    first = pool.take((4, 8), torch.float32)
    address, part = first.data_ptr(), first[2:].view(torch.int32)
    del first
    assert pool.take((4, 8), torch.float32).data_ptr() != address
    del part
    again = {pool.take((4, 8), torch.float32).data_ptr() for _ in range(2)}
    assert address in again


def test_buffers_are_page_locked_where_cuda_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, zeros = [], torch.zeros

    def allocate(size: int, *, dtype: torch.dtype, pin_memory: bool) -> torch.Tensor:
        asked.append(pin_memory)
        return zeros(size, dtype=dtype)

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.zeros", allocate)
    for pin in (True, False):
        BufferPool(pin).take((2, 3), torch.float32)
    assert asked == [True, False]


def test_writing_into_a_batch_harms_no_store(path: Path) -> None:
    for batch in TensorDataset(path).batches(4):
        batch["images"].zero_()
        batch["thresh_maps"].add_(1)
    assert_batch(TensorDataset(path)[:], list(range(11)))


@pytest.mark.parametrize("order", ["shuffled", [10, 3, 4, 5, 0]])
def test_a_batch_out_of_order_is_a_copy_also_of_adjoining_samples(path: Path, order: Any) -> None:
    dataset = TensorDataset(path)
    for _ in range(2):
        for batch in dataset.batches(1, order):
            assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])
            batch["images"].zero_()  # as a change of training batches does


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        ({"limit": 3}, [0, 1, 2]),
        ({"limit": 100}, list(range(11))),
        ({"limit": 0}, []),
        ({"samples": ["folder/00007.jpg", "folder/00002.jpg"]}, [7, 2]),
        ({"samples": ["folder/00003.jpg", "folder/00004.jpg"]}, [3, 4]),
        ({"where": lambda row: row["size"][1] % 2 == 1}, [1, 3, 5, 7, 9]),
        ({"where": lambda row: row["sample_id"] > "folder/00006.jpg", "limit": 2}, [7, 8]),
    ],
)
def test_subsets(path: Path, choice: dict[str, Any], rows: list[int]) -> None:
    dataset = TensorDataset(path, **choice)
    assert len(dataset) == len(rows)
    found = list(dataset.batches(4))
    assert [name for batch in found for name in batch["sample_id"]] == [
        f"folder/{row:05}.jpg" for row in rows
    ]
    for batch in found:
        assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])


def test_fields_that_are_not_asked_for_are_never_read(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 3, CANVAS)
    for name in ("prob_mask", "thresh_map", "thresh_mask", "points", "ignore", "text"):
        shutil.rmtree(path / name)
    dataset = TensorDataset(path, fields=("image", "prob_map"))
    batch = dataset[:]
    assert set(batch) == {"images", "prob_maps", "sample_id"}
    assert set(dataset[0]) == {"image", "prob_map", "sample_id"}


def test_texts_and_the_forward_matrix_come_on_request(path: Path) -> None:
    batch = TensorDataset(path, fields=("text", "matrix"))[2:4]
    assert list(batch["text"]) == [["über 0", "über 1"], ["über 0", "über 1", "über 2"]]
    np.testing.assert_array_equal(batch["matrix"][1].numpy(), sample(3, *CANVAS)["matrix"])


@pytest.mark.parametrize(("dtype", "tensor"), [("float16", torch.float16), ("uint16", torch.bfloat16)])
def test_images_of_every_stored_type(tmp_path: Path, dtype: str, tensor: torch.dtype) -> None:
    values = torch.linspace(-2, 2, 3 * 64 * 64).view(3, 64, 64).to(tensor)
    stored = values.view(torch.uint16).numpy() if dtype == "uint16" else values.numpy()
    declared = (type(fields(*CANVAS)[0])("image", dtype, (3, *CANVAS), "none"),)
    path = write_store(tmp_path / "tensors.zarr", [{"image": stored}] * 3, declared)
    dataset = TensorDataset(path, fields=("image",))
    for batch in (dataset[:2], dataset.__getitems__([2, 0])):
        assert batch["images"].dtype == tensor
        assert torch.equal(batch["images"], torch.stack([values, values]))


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
        dataset, batch_size=3, num_workers=2, collate_fn=as_collated, multiprocessing_context=method
    )
    rows = iter(range(11))
    for batch in loader:
        assert_batch(batch, [next(rows) for _ in batch["sample_id"]])
    assert dataset.stats().samples == 11


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
        collate_fn=as_collated if by == "batches" else None,
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
    batches = list(DataLoader(dataset, batch_size=4, collate_fn=as_collated))
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


# --------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("index", [11, -12])
def test_an_index_out_of_range_is_an_index_error(path: Path, index: int) -> None:
    dataset = TensorDataset(path)
    for read in (dataset.__getitem__, lambda i: dataset.__getitems__([0, i])):
        with pytest.raises(IndexError, match=f"sample {index} of 11"):
            read(index)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"fields": ("picture",)}, ConfigError, "picture is no field"),
        ({"samples": ["nowhere.jpg"]}, StoreError, "no sample nowhere.jpg"),
        ({"limit": -1}, ConfigError, "limit"),
        ({"expect": {"canvas": (736, 640)}}, StoreError, r"canvas \[64, 64\] → \[736, 640\].*warmstore run"),
        (
            {"expect": {"recipe": {**RECIPE, "version": 2}}},
            StoreError,
            "version of tensors 1 → 2",
        ),
    ],
)
def test_a_choice_that_the_store_cannot_satisfy_is_refused(
    path: Path, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        TensorDataset(path, **arguments)


def test_a_store_that_is_what_is_expected_opens(path: Path) -> None:
    assert len(TensorDataset(path, expect={"canvas": CANVAS, "recipe": RECIPE})) == 11


def test_a_store_without_a_field_is_refused_with_the_way_out(tmp_path: Path) -> None:
    declared = tuple(field for field in fields(*CANVAS) if field.name != "thresh_map")
    path = write_store(tmp_path / "tensors.zarr", [sample(0, *CANVAS)], declared)
    with pytest.raises(StoreError, match=r"no field thresh_map.*leave it out of fields"):
        TensorDataset(path)
    TensorDataset(path, fields=("image",))


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="format version 99"):
        TensorDataset(tensors_store(tmp_path, 1, CANVAS, format_version=99))


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_of_nothing_is_refused(path: Path, batch_size: int) -> None:
    with pytest.raises(ConfigError, match="at least one sample"):
        TensorDataset(path).batches(batch_size)


@pytest.mark.parametrize(
    ("order", "rows"),
    [
        (range(3, 9), [3, 4, 5, 6, 7, 8]),
        (range(-2, 2), [9, 10, 0, 1]),
        (range(8, 2, -3), [8, 5]),
        (range(0), []),
    ],
)
def test_a_range_of_indices_is_the_indices_in_it(path: Path, order: range, rows: list[int]) -> None:
    found = [name for batch in TensorDataset(path).batches(4, order) for name in batch["sample_id"]]
    assert found == [f"folder/{row:05}.jpg" for row in rows]


@pytest.mark.parametrize("order", [range(5, 12), range(11, 13), range(-12, -10), [0, 11]])
def test_indices_beyond_the_samples_are_no_shorter_epoch(path: Path, order: Sequence[int]) -> None:
    with pytest.raises(IndexError, match="of 11"):
        list(TensorDataset(path).batches(4, order))


@pytest.mark.parametrize("order", ["sequential", "shuffled"])
def test_a_batch_size_may_be_an_integer_of_numpy(path: Path, order: Any) -> None:
    sizes = [len(batch["images"]) for batch in TensorDataset(path).batches(np.int64(4), order)]  # type: ignore[arg-type]
    assert sizes == [4, 4, 3]


def test_an_unknown_order_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="order is sequential, shuffled"):
        TensorDataset(path).batches(4, "random")  # type: ignore[arg-type]


def test_copies_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 5, (10, 11)))
    for _ in range(2):
        for batch in dataset.batches(2):
            assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]], (10, 11))
    pickle.loads(pickle.dumps(dataset))
    assert len(caplog.records) == 1
    assert "image stored in chunks of 330 bytes, no whole number of" in caplog.text


def test_an_empty_store_has_no_batches(tmp_path: Path) -> None:
    declared = (fields(*CANVAS)[0],)
    dataset = TensorDataset(write_store(tmp_path / "tensors.zarr", [], declared), fields=("image",))
    assert len(dataset) == 0
    assert list(dataset.batches(3)) == []
    assert dataset.warm().samples == 0
