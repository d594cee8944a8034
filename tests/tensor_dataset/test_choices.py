"""What a TensorDataset is asked for: refused where the store cannot give it, and said where it costs."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ocr.datasets import TensorDataset, collate
from ocr.datasets.batches import Normaliser
from pipeline.errors import ConfigError, StoreError
from tests.support.stores import fields, sample, tensors_store, write_store
from tests.support.tensor_batches import CANVAS, assert_batch

RECIPE = {"stage": "tensors", "version": 1, "parameters": {}, "libraries": {}, "upstream": {}}


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
    dataset = TensorDataset(tensors_store(tmp_path, 5, (100, 36), samples_per_chunk=2))
    for _ in range(2):
        for batch in dataset.batches(2):
            assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]], (100, 36))
    pickle.loads(pickle.dumps(dataset))
    assert len(caplog.records) == 1
    assert "image stored in chunks of 2 samples and 21600 bytes, no whole number of" in caplog.text
    assert "with canvas=[64,64] or canvas=[128,64] they would be views" in caplog.text


@pytest.mark.parametrize("mode", ["mmap", "ram", "off"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_canvas_that_fills_no_pages_is_read_as_views(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: Any, workers: int
) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 5, (100, 36)), cache=mode)
    dataset.warm()
    assert_batch(dataset[0:5], list(range(5)), (100, 36))
    first = dataset[0:2]["images"]
    assert not first.is_contiguous() and first.data_ptr() == dataset[0:1]["images"].data_ptr()
    assert "copies" not in caplog.text
    for number, batch in enumerate(
        DataLoader(dataset, batch_size=2, num_workers=workers, collate_fn=collate)
    ):
        assert_batch(batch, list(range(5))[2 * number : 2 * number + 2], (100, 36))
    mean, std = (0.5, 0.25, 0.125), (0.5, 0.25, 0.2)
    whole = dataset[0:5]["images"]
    torch.testing.assert_close(Normaliser(mean, std)(whole), Normaliser(mean, std)(whole.clone()))


def test_an_empty_store_has_no_batches(tmp_path: Path) -> None:
    declared = (fields(*CANVAS)[0],)
    dataset = TensorDataset(write_store(tmp_path / "tensors.zarr", [], declared), fields=("image",))
    assert len(dataset) == 0
    assert list(dataset.batches(3)) == []
    assert dataset.warm().samples == 0
