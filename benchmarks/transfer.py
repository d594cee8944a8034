"""How fast batches reach a CUDA device, in GB/s and as a share of what its link gives.

    python -m benchmarks.transfer                                # 404 synthetic samples at 640 x 640
    python -m benchmarks.transfer --store work/val/tensors.zarr --batch 32

Sides, in turns: the link's limit (one page-locked buffer, copied again and again); the registered RAM cache,
from which batches go straight to the device; the same store with nothing page-locked; and workers of a
DataLoader with `pin_memory`. Needs a CUDA device.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.read import synthetic
from benchmarks.turns import Epoch, compare
from ocr.datasets import TensorDataset
from ocr.datasets.batches import ARRAYS, Batch, ahead_on_device, as_collated
from ocr.datasets.stored import CacheParams

FIELDS = tuple(ARRAYS)


def transfers(path: Path, size: int, workers: int) -> tuple[dict[str, Epoch], int]:
    """An epoch of each side, and the bytes of a sample."""
    device = torch.device("cuda")
    registered = TensorDataset(path, FIELDS, cache=CacheParams(mode="ram"))
    pageable = TensorDataset(path, FIELDS, pin=False)
    registered.warm()
    pageable.warm()
    samples = len(registered)
    locked = torch.zeros(size * registered.sample_bytes, dtype=torch.uint8).pin_memory()
    target = torch.empty_like(locked, device=device)
    loader: DataLoader[Any] = DataLoader(
        pageable, size, num_workers=workers, pin_memory=True, persistent_workers=True, collate_fn=as_collated
    )

    def limit() -> int:
        for _ in range(-(-samples // size)):
            target.copy_(locked, non_blocking=True)
        torch.cuda.synchronize()
        return -(-samples // size) * size

    def epoch(batches: Iterable[Batch]) -> int:
        return sum(len(batch["sample_id"]) for batch in ahead_on_device(batches, device))

    def from_store(dataset: TensorDataset) -> int:
        return epoch(dataset.batches(size))

    sides = {
        "the link": limit,
        "registered RAM cache": partial(from_store, registered),
        "pageable": partial(from_store, pageable),
        f"{workers} pin_memory workers": lambda: epoch(loader),
    }
    return sides, registered.sample_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, help="a tensors.zarr; 404 synthetic samples otherwise")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device is there: nothing to transfer to")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = options.store or synthetic(Path(folder), 404, 640)
        sides, sample_bytes = transfers(path, options.batch, options.workers)
        found = compare(sides, options.rounds)
        for side in found.values():
            side["GB_s"] = round(side["samples_s"] * sample_bytes / 1e9, 2)
            side["of_the_link"] = side["times_as_fast"]
        print(json.dumps({"device": torch.cuda.get_device_name(), **found}, indent=1))


if __name__ == "__main__":
    main()
