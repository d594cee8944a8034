"""What a store says of itself, and what is no store of this version's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoreError
from pipeline.store import open_store
from tests.support.stores import tensors_store, write_manifest


def rewrite(store: Path, **changes: Any) -> None:
    """Change attributes of a store, or drop those that are None; its manifest agrees."""
    metadata = json.loads((store / "zarr.json").read_bytes())
    attributes = metadata["attributes"] | changes
    metadata["attributes"] = {name: value for name, value in attributes.items() if value is not None}
    (store / "zarr.json").write_text(json.dumps(metadata))
    write_manifest(store.resolve())


def test_what_a_store_says_of_itself(tmp_path: Path) -> None:
    verdict = {"sample_id": "a.jpg", "stage": "decode", "code": "corrupt", "reason": "half of it is missing"}
    counts = {"listed": 3, "accepted": 2, "quarantined": 1}
    store = open_store(tensors_store(tmp_path, 2, quarantined=[verdict], counts=counts))
    assert store.info.counts.model_dump() == counts
    assert store.info.codes == {"a.jpg": "corrupt"}
    assert [field.name for field in store.info.fields] == list(store.declared)
    assert store.attributes["mean"] == [0.5, 0.25, 0.125]  # a stage's own attributes stay as they are


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format_version": 2}, "format version 2, and 1 is what is read"),
        ({"format_version": None}, "format version None"),
        ({"fields": None}, "fields"),
        ({"fields": [{"name": "image"}]}, "kind"),
        ({"fields": [{"name": "image", "kind": "hologram"}]}, "hologram"),
        ({"fields": [{"name": "image", "kind": "row"}]}, "dtype"),
        ({"counts": [1, 2]}, "counts"),
        ({"samples_per_chunk": "many"}, "samples_per_chunk"),
        ({"recipe": None}, "recipe"),
        ({"quarantined": [3]}, "quarantined"),
    ],
)
def test_attributes_of_another_version_are_refused_in_a_sentence(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    path = tensors_store(tmp_path, 1)
    rewrite(path, **changes)
    with pytest.raises(StoreError, match=told) as caught:
        open_store(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
