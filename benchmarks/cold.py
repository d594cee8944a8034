"""The first epoch from a cold disk, by codec: opening, warming and one touch of every page.

    python -m benchmarks.cold                        # 100 synthetic receipts at 640 x 640
    python -m benchmarks.cold raw/tensors.zarr lz4/tensors.zarr zstd/tensors.zarr

The stores hold the same samples with other codecs (`stages.tensors.codec`), the raw one first. A store is
read in each mode that suits it, after its files were dropped from the page cache. To see a
slower disk, limit this process, for instance with `systemd-run --scope -p 'IOReadBandwidthMax=DISK 200M'`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks.measure import Side, arguments, compare, parse, show
from benchmarks.stores import open_warm, read_epoch
from pipeline.stage import Chunked, Codec
from pipeline.store import open_store
from tests.support.reads import evict


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("stores", type=Path, nargs="*", help="tensors.zarr of each codec, the raw one first")
    parser.add_argument("--samples", type=int, default=100, help="receipts to draw where no store is given")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        stores = options.stores or drawn(Path(folder), options.samples)
        first_epochs(stores, options.batch, options.rounds)


def first_epochs(stores: list[Path], batch: int, rounds: int) -> None:
    """Read each store in turn, cold, against reading the first store's files and nothing else."""
    sides: dict[str, Side] = {"reading the raw files": partial(read_files, stores[0])}
    for path in stores:
        image = open_store(path).declared["image"]
        codec = image.codec if isinstance(image, Chunked) else "none"
        for mode in ("mmap", "ram") if codec == "none" else ("ram",):
            sides[f"{codec}, {mode}"] = partial(first_epoch, path, mode, batch)

    def drop() -> None:
        for path in stores:
            evict(path.resolve())

    show("the first epoch, cold", compare(sides, rounds, drop, warm_up=False), batch=batch, order="cold")


def read_files(path: Path) -> int:
    """Read a store's chunk files one after another, as they lie on the disk; gives its number of samples."""
    buffer = bytearray(1 << 22)
    for file in sorted(path.glob("*/c.*.0.0.0"), key=lambda file: file.stat().st_ino):
        with file.open("rb", buffering=0) as open_file:
            os.posix_fadvise(open_file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while open_file.readinto(buffer):
                pass
    return len(open_store(path))


def first_epoch(path: Path, mode: str, batch: int) -> int:
    """Open a store, warm it and touch all batches; gives its number of samples."""
    return read_epoch(open_warm(path, mode), batch)


def drawn(folder: Path, samples: int) -> list[Path]:
    """Draw receipts and store them with each codec, the raw one first."""
    data, codecs = f"data.root={folder / 'receipts'}", get_args(Codec)
    warmstore("data", "--train", "1", "--val", str(samples), data)
    for codec in codecs:
        work = f"work_dir={folder / codec}"
        warmstore("run", "--split", "val", data, work, f"stages.tensors.codec={codec}")
    return [folder / codec / "val" / "tensors.zarr" for codec in codecs]


def warmstore(*arguments: str) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "warmstore", *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
