"""How fast batches reach a CUDA device, in GB/s and as a share of what its link gives.

    python -m benchmarks.transfer                                # 404 synthetic samples at 640 x 640
    python -m benchmarks.transfer --store work/val/tensors.zarr --batch 32

Sides: the link's limit (one page-locked buffer, copied again and again); the registered RAM cache, from
which batches go straight to the device; the same store with nothing page-locked; and workers of a
DataLoader with `pin_memory`. Needs a CUDA device.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.measure import arguments, compare, parse, show
from benchmarks.record import Row
from benchmarks.stores import noise_store
from ocr.datasets import TensorDataset
from ocr.datasets.batches import ARRAYS, Batch, ahead_on_device
from ocr.datasets.stored import CacheParams


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--store", type=Path, help="a tensors.zarr; 404 synthetic samples otherwise")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    options = parse(parser)
    if not torch.cuda.is_available():
        print("no CUDA device is there: nothing to transfer to")
        return
    with tempfile.TemporaryDirectory() as folder:
        transfer(options.store or noise_store(Path(folder)), options.batch, options.workers, options.rounds)


def transfer(path: Path, size: int, workers: int, rounds: int) -> None:
    """An epoch of each side."""
    device = torch.device("cuda")
    registered = TensorDataset(path, tuple(ARRAYS), cache=CacheParams(mode="ram"))
    pageable = TensorDataset(path, tuple(ARRAYS), pin=False)
    registered.warm()
    pageable.warm()
    batches = -(-len(registered) // size)
    locked = torch.zeros(size * registered.sample_bytes, dtype=torch.uint8).pin_memory()
    target = torch.empty_like(locked, device=device)
    loader: DataLoader[Any] = DataLoader(
        pageable, size, num_workers=workers, pin_memory=True, persistent_workers=True
    )

    def limit() -> int:
        for _ in range(batches):
            target.copy_(locked, non_blocking=True)
        torch.cuda.synchronize()
        return batches * size

    def epoch(batches: Iterable[Batch]) -> int:
        return sum(len(batch["sample_id"]) for batch in ahead_on_device(batches, device))

    sides = {
        "the link": limit,
        "registered RAM cache": lambda: epoch(registered.batches(size)),
        "pageable": lambda: epoch(pageable.batches(size)),
        f"{workers} pin_memory workers": lambda: epoch(loader),
    }
    rows = compare(sides, rounds)
    speeds = (
        Row(name=row.name, unit="GB/s", values=tuple(v * registered.sample_bytes / 1e9 for v in row.values))
        for row in rows
        if row.unit == "samples/s"
    )
    show(torch.cuda.get_device_name(), [*rows, *speeds], batch=size)


if __name__ == "__main__":
    main()
