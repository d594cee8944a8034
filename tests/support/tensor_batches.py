"""What batches of a drawn store of tensors must hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.stores import sample

CANVAS = (64, 64)
ARRAYS = {
    "image": "images",
    "prob_map": "prob_maps",
    "prob_mask": "prob_masks",
    "thresh_map": "thresh_maps",
    "thresh_mask": "thresh_masks",
}


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
