"""How fast batches reach a CUDA device and maps come back, in GB/s and as a share of what its link gives.

    python -m benchmarks.transfer                                # 404 synthetic samples at 640 x 640
    python -m benchmarks.transfer --store work/val/tensors.zarr --batch 32

To the device: the link's limit (one page-locked buffer, copied again and again); the registered RAM cache,
from which batches go straight to the device; the same store with nothing page-locked; and workers of a
DataLoader with `pin_memory`. Back: the link, and float32 maps of a batch into lent page-locked memory, as
validation has it, and into fresh memory. Needs a CUDA device.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.measure import RECORD, Side, arguments, compare, note, parse, show
from benchmarks.record import Row
from benchmarks.stores import noise_store
from ocr.datasets import TensorDataset
from ocr.datasets.batches import ARRAYS, Batch, BufferPool, ahead_on_device
from ocr.datasets.stored import CacheParams


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--store", type=Path, help="a tensors.zarr; 404 synthetic samples otherwise")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    options = parse(parser)
    if not torch.cuda.is_available():
        note("not run: no CUDA device")
        RECORD.add(())
        return
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or noise_store(Path(folder))
        to_device(store, options.batch, options.workers, options.rounds)
        to_host(store, options.batch, options.rounds)


def to_device(path: Path, size: int, workers: int, rounds: int) -> None:
    """An epoch of each side."""
    device = torch.device("cuda", torch.cuda.current_device())
    registered = TensorDataset(path, tuple(ARRAYS), cache=CacheParams(mode="ram"))
    pageable = TensorDataset(path, tuple(ARRAYS), pin=False)
    registered.warm()
    pageable.warm()
    if not registered[:size]["images"].is_pinned():
        note("CUDA has not registered the RAM cache: that side is pageable, too")
    locked = torch.zeros(size * registered.sample_bytes, dtype=torch.uint8).pin_memory()
    target = torch.empty_like(locked, device=device)
    loader: DataLoader[Any] = DataLoader(
        pageable, size, num_workers=workers, pin_memory=True, persistent_workers=True
    )

    def limit() -> int:
        for _ in range(-(-len(registered) // size)):
            target.copy_(locked, non_blocking=True)
        torch.cuda.synchronize()
        return -(-len(registered) // size) * size

    def epoch(batches: Iterable[Batch]) -> int:
        count = sum(len(batch["sample_id"]) for batch in ahead_on_device(batches, device))
        torch.cuda.synchronize()
        return count

    sides = {
        "the link": limit,
        "registered RAM cache": lambda: epoch(registered.batches(size)),
        "pageable": lambda: epoch(pageable.batches(size)),
        f"{workers} pin_memory workers": lambda: epoch(loader),
    }
    show_shares("to the device", sides, registered.sample_bytes, rounds, size)


def to_host(path: Path, size: int, rounds: int) -> None:
    """Ten batches of float32 maps, as large as the store's canvas."""
    height, width = TensorDataset(path, ("image",))[0]["image"].shape[-2:]
    maps = torch.rand(size, 1, height, width, device="cuda")
    locked, lent = torch.empty_like(maps, device="cpu").pin_memory(), BufferPool(pin=True)

    def ten(copy: Any) -> int:
        kept = [copy() for _ in range(10)]  # as the pool has them, while it decodes
        torch.cuda.synchronize()
        return len(kept) * size

    sides = {
        "the link": lambda: ten(lambda: locked.copy_(maps, non_blocking=True)),
        "page-locked": lambda: ten(lambda: lent.take(tuple(maps.shape), maps.dtype).copy_(maps)),
        "fresh memory": lambda: ten(maps.cpu),
    }
    show_shares("maps back", sides, maps[0].nbytes, rounds, size)


def show_shares(title: str, sides: Mapping[str, Side], sample_bytes: int, rounds: int, size: int) -> None:
    """Let sides take turns; GB/s beside samples a second, and the share of the first side's in a round."""
    rows = compare(sides, rounds)
    link, *others = speeds = [
        Row(name=row.name, unit="GB/s", values=tuple(value * sample_bytes / 1e9 for value in row.values))
        for row in rows
        if row.unit == "samples/s"
    ]
    shares = [
        Row(name=row.name, unit="% of the link", values=tuple(100 * s for s in row.times_as_fast_as(link)))
        for row in others
    ]
    show(f"{title}, {torch.cuda.get_device_name()}", [*rows, *speeds, *shares], batch=size, way=title)


if __name__ == "__main__":
    main()
