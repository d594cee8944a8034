from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ocr.datasets import TensorDataset
from ocr.evaluation import READ_FIELDS
from tests.support.pages import MEAN, SIDE, STD, Batch, sample_of
from tests.support.stores import fields, write_store

TEXTS = ("TOTAL", "4.20", "MILK", "BREAD")


@pytest.fixture(scope="session")
def pages() -> list[Batch]:
    """Five pages of four words each."""
    return [sample_of(seed) for seed in range(5)]


@pytest.fixture(scope="session")
def store(pages: list[Batch], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages in a store."""
    values = []
    for page in pages:
        names = ("prob_map", "prob_mask", "thresh_map", "thresh_mask")
        maps = {name: page[f"{name}s"].numpy() for name in names}
        place = {"matrix": np.linalg.inv(page["inverse_matrix"].numpy()), "size": page["size"].numpy()}
        truth = {"points": tuple(page["polygons"]), "ignore": page["ignore"]}
        text = tuple(np.frombuffer(text.encode(), np.uint8) for text in TEXTS)
        values.append({"image": page["images"].numpy(), **maps, **place, **truth, "text": text})
    folder = tmp_path_factory.mktemp("pages")
    ids = [page["sample_id"] for page in pages]
    attributes = {"mean": MEAN, "std": STD}
    return write_store(folder / "tensors.zarr", values, fields(SIDE, SIDE), 1, attributes, ids)


@pytest.fixture
def dataset(store: Path) -> TensorDataset:
    """The pages with all that is judged, and the maps."""
    return TensorDataset(store, (*READ_FIELDS, "prob_map"))
