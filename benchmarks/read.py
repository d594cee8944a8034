"""How fast a store is read, beside the machine's own limits; every side in the same process, in turns.

    python -m benchmarks.read                        # 404 synthetic samples at 640 x 640, every part
    python -m benchmarks.read --folder scratch --only sequential shuffled
    python -m benchmarks.read --store work/val/tensors.zarr --batch 12 16 32
    python -m benchmarks.read --only competitors --competitors all     # benchmarks/requirements.txt

What is written into `--folder` is kept and used again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.cold import first_epochs
from benchmarks.competitors import LIBRARIES, competitors
from benchmarks.measure import Side, arguments, compare, parse, show
from benchmarks.read_batches import sequential, shuffled
from benchmarks.read_memory import memory
from benchmarks.record import Row
from benchmarks.stores import MODES, Reading, noise_store, open_warm
from benchmarks.streaming_libraries import STREAMING
from ocr.datasets import TensorDataset
from tests.support.reads import evict
from tests.support.stores import fields, sample, write_store


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--store", type=Path, help="a tensors.zarr; synthetic samples otherwise")
    parser.add_argument("--samples", type=int, default=404, help="synthetic ones")
    parser.add_argument("--folder", type=Path, help="for what is written; kept if given")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 12, 32])
    parser.add_argument("--rounds", type=int, default=7)
    known = [*LIBRARIES, *STREAMING]
    parser.add_argument("--competitors", nargs="*", default=[], help=f"all, or of: {', '.join(known)}")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--many", type=int, default=100_000, help="tiny samples of a store to open")
    parser.add_argument("--rest", type=float, default=0.5, help="seconds before each library")
    options = parse(parser)
    libraries = known if options.competitors == ["all"] else options.competitors
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        store = options.store or noise_store(folder, options.samples)
        for part in options.only:
            PARTS[part](
                Reading(store, folder, options.batch, options.rounds, libraries, options.many, options.rest)
            )


def opening(asked: Reading) -> None:
    """Open a store with all its fields: this one, and one of many tiny samples."""
    large = asked.folder / f"{asked.many}" / "tensors.zarr"
    if not large.exists():
        samples = [sample(index, 16, 16) for index in range(32)] * (asked.many // 32)
        write_store(large, samples, fields(16, 16), samples_per_chunk=32)
    rows = []
    for name, path in (("this store", asked.store), (f"{asked.many:,} tiny samples", large)):
        times = []
        for _ in range(asked.rounds):
            began = time.perf_counter()
            dataset = TensorDataset(path)
            times.append(1e3 * (time.perf_counter() - began))
        rows.append(Row(name=name, unit="ms", values=tuple(times), conditions={"samples": len(dataset)}))
        del dataset
    show("opening", rows, part="opening")


def warming(asked: Reading) -> None:
    """Open and warm a store whose files are in the page cache, and one whose files are on the disk alone."""
    for where, before in (("memory", lambda: None), ("disk", lambda: evict(asked.store.resolve()))):
        sides: dict[str, Side] = {mode: lambda mode=mode: len(open_warm(asked.store, mode)) for mode in MODES}
        found = compare(sides, asked.rounds, before)
        show(f"opening and warming, files in {where}", found, part="warming", files=where)


PARTS: dict[str, Callable[[Reading], None]] = {
    "opening": opening,
    "warming": warming,
    "sequential": sequential,
    "shuffled": shuffled,
    "epochs": lambda asked: first_epochs([asked.store], asked.batches[0], asked.rounds),
    "memory": memory,
    "competitors": competitors,
}

if __name__ == "__main__":
    main()
