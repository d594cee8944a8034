"""How fast a store is read, beside the machine's own limits; every side in the same process, in turns.

    python -m benchmarks.read                        # 404 synthetic samples at 640 x 640, every part
    python -m benchmarks.read --folder scratch --only sequential shuffled
    python -m benchmarks.read --store work/val/tensors.zarr --batch 12 16 32
    python -m benchmarks.read --only competitors --competitors all     # benchmarks/requirements.txt

Parts: opening, sequential, shuffled, epochs, normalising, memory, competitors. What is written into
`--folder` is kept and used again. "Touch" reads one byte of every 4 KiB, as little as shows that a page
is there. On a busy machine compare the ratios (`times_as_fast`, by the clock and by CPU time), not rates.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.read_competitors import ARRAY_LIBRARIES, TOUCHED, Batches, touch
from benchmarks.read_streaming import STREAMING_LIBRARIES
from benchmarks.turns import Epoch, compare
from ocr.datasets import TensorDataset
from ocr.datasets.batches import ARRAYS, DEFAULT_FIELDS, Normaliser
from ocr.datasets.stored import CacheParams
from tests.support.reads import evict
from tests.support.stores import fields as store_fields
from tests.support.stores import sample, write_store

COMPETITORS = {**ARRAY_LIBRARIES, **STREAMING_LIBRARIES}


def touch_batch(batch: dict[str, Any]) -> int:
    """Touch a batch's images and maps; gives its number of samples."""
    touch(batch[name].numpy() for name in TOUCHED if name in batch)
    return len(batch["sample_id"])


def sequential(path: Path, folder: Path, batches: list[int], rounds: int) -> dict[str, Any]:
    """Views in order, of images alone and of all fields, against views over a `.npy` memmap a field."""
    results = {}
    for what, fields in (("images", ("image",)), ("all fields", DEFAULT_FIELDS)):
        datasets = {mode: open_warm(path, mode, fields) for mode in ("mmap", "ram")}
        memmaps = [_npy(path, name, folder) for name in fields if name in ARRAYS]

        def views(batch: int, memmaps: list[np.memmap] = memmaps) -> int:
            for start in range(0, len(memmaps[0]), batch):
                touch(memmap[start : start + batch] for memmap in memmaps)
            return len(memmaps[0])

        for batch in batches:
            sides = {mode: partial(read_epoch, dataset, batch) for mode, dataset in datasets.items()}
            results[f"{what}, batch {batch}"] = compare({"npy": partial(views, batch), **sides}, rounds)
    return results


def shuffled(path: Path, batches: list[int], rounds: int) -> dict[str, Any]:
    """Gathered batches, against `index_select(out=)` over the same bytes in RAM; nobody looks at them."""
    datasets = {mode: open_warm(path, mode) for mode in ("mmap", "ram")}
    whole = datasets["mmap"][:]
    tensors = [whole[name].clone() for name in TOUCHED]
    seeds = iter(range(10**6))

    def select(outs: list[torch.Tensor]) -> int:
        batch, count = len(outs[0]), len(tensors[0])
        order = torch.randperm(count, generator=torch.Generator().manual_seed(next(seeds)))
        for rows in order.split(batch)[: count // batch]:
            for tensor, out in zip(tensors, outs, strict=True):
                torch.index_select(tensor, 0, rows, out=out)
        return count // batch * batch

    def store(dataset: TensorDataset, batch: int) -> int:
        found = dataset.batches(batch, "shuffled", seed=next(seeds), drop_last=True)
        return sum(len(b["sample_id"]) for b in found)

    results = {}
    for batch in batches:
        outs = [torch.zeros((batch, *tensor.shape[1:]), dtype=tensor.dtype) for tensor in tensors]
        sides = {mode: partial(store, dataset, batch) for mode, dataset in datasets.items()}
        results[f"batch {batch}"] = compare({"index_select(out=)": partial(select, outs), **sides}, rounds)
    return results


def epochs(path: Path, batch: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of epochs 0, 1 and 2 after warming a cold store, and the samples that epoch 0 missed."""
    found: dict[str, Any] = {}
    for mode in ("mmap", "ram"):
        times, misses = [], 0
        for _ in range(rounds):
            evict(path.resolve())
            dataset = open_warm(path, mode)
            clock = [time.perf_counter()]
            for _ in range(3):
                read_epoch(dataset, batch)
                clock.append(time.perf_counter())
            times.append([1e3 * (after - before) for before, after in pairwise(clock)])
            misses += dataset.stats().misses
        found[mode] = {"ms": [round(median(one), 2) for one in zip(*times, strict=True)], "misses": misses}
    return found


def normalising(path: Path, batch: int, rounds: int) -> dict[str, Any]:
    """uint8 to normalised float32 and bf16, against the formula on fresh memory."""
    images = open_warm(path, "mmap")[:batch]["images"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    shape = (1, 3, 1, 1)
    sides: dict[str, Epoch] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        normalise = Normaliser(mean.tolist(), std.tolist(), dtype)

        def formula(dtype: torch.dtype = dtype) -> int:
            return len(((images / 255 - mean.view(shape)) / std.view(shape)).to(dtype))

        def fused(normalise: Normaliser = normalise) -> int:
            return len(normalise(images))

        sides |= {f"formula, {name}": formula, f"one pass, {name}": fused}
    return compare(sides, rounds)


def opening(path: Path, folder: Path) -> dict[str, Any]:
    """Milliseconds to open a store with all its fields: this one, and one of 100,000 tiny samples."""
    large = folder / "large" / "tensors.zarr"
    if not large.exists():
        large.parent.mkdir()
        samples = [sample(index, 16, 16) for index in range(32)] * 3125
        write_store(large, samples, store_fields(16, 16), samples_per_chunk=32)
    found = {}
    for name, store in (("this store", path), ("100,000 samples", large)):
        times = []
        for _ in range(7):
            began = time.perf_counter()
            dataset = TensorDataset(store)
            times.append(1e3 * (time.perf_counter() - began))
            del dataset
        found[name] = {"ms": round(min(times), 1)}
    return found


PSS = """
import sys, json, re
from ocr.datasets.stored.ram_cache import CacheParams
from ocr.datasets import TensorDataset
from ocr.datasets.batches.batch import ARRAYS, DEFAULT_FIELDS
from benchmarks.read import touch_batch
def pss():
    return int(re.search(r"Pss: *(\\d+)", open("/proc/self/smaps_rollup").read())[1]) * 1024
before = pss()
dataset = TensorDataset(sys.argv[1], cache=CacheParams(mode=sys.argv[2]))
dataset.warm()
for batch in dataset.batches(16):
    touch_batch(batch)
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([before, pss(), dataset.sample_bytes * len(dataset)]), flush=True)
sys.stdin.readline()
"""


def memory(path: Path) -> dict[str, Any]:
    """Memory of one and two processes that read a warm store, without the interpreters' own."""
    return {
        f"{mode}, {ranks} process(es)": _memory(path, mode, ranks)
        for mode in ("mmap", "ram")
        for ranks in (1, 2)
    }


def _memory(path: Path, mode: str, ranks: int) -> dict[str, float]:
    command = [sys.executable, "-c", PSS, str(path), mode]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for _ in range(ranks)
    ]
    found = []
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin and process.stdout
        process.stdin.write("\n")
        found.append(json.loads(process.stdout.readline()))
    for process in processes:
        process.communicate("\n")
    own = sum(after - before for before, after, _ in found)
    return {"GB": round(own / 1e9, 3), "of_the_store": round(own / found[0][2], 3)}


def against(path: Path, folder: Path, names: list[str], batch: int, rounds: int) -> dict[str, Any]:
    """Other libraries over the same arrays, each by its own documented best use."""
    dataset, in_ram = open_warm(path, "mmap"), open_warm(path, "ram")
    results: dict[str, Any] = {}
    ready = {}
    for name in names:
        target = folder / name.replace(" ", "_")
        target.mkdir(exist_ok=True)
        try:
            began = time.perf_counter()
            ready[name] = COMPETITORS[name](dataset, target, batch)
            print(f"{name}: prepared in {time.perf_counter() - began:.1f} s", file=sys.stderr)
        except Exception as error:  # a library that is missing or does not run is a result
            results[name] = f"does not run here: {type(error).__name__}: {error}"
    for order in ("sequential", "shuffled"):
        sides: dict[str, Epoch] = {"warmstore, ram": partial(read_epoch, in_ram, batch, order)}
        sides["warmstore, mmap"] = partial(read_epoch, dataset, batch, order)
        for name, batches in ready.items():
            sides[name] = partial(_read, batches, order, len(dataset))
        # Threads that prefetch what nobody will read come to rest in half a second.
        results[order] = compare(sides, rounds, lambda: time.sleep(0.5))
    return results


def _read(batches: Batches, order: str, count: int) -> int:
    for arrays in batches(order):
        touch(arrays)
    return count


def read_epoch(
    dataset: TensorDataset, batch: int, order: Literal["sequential", "shuffled"] = "sequential"
) -> int:
    """Touch all batches of a dataset once; gives its number of samples."""
    return sum(touch_batch(b) for b in dataset.batches(batch, order, seed=time.perf_counter_ns()))


def open_warm(path: Path, mode: str, fields: Sequence[str] = DEFAULT_FIELDS) -> TensorDataset:
    """Open a store and warm it."""
    dataset = TensorDataset(path, fields, cache=CacheParams(mode=mode))  # type: ignore[arg-type]
    dataset.warm()
    return dataset


def _npy(path: Path, name: str, folder: Path) -> np.memmap:
    """One `.npy` file with a field of every sample, mapped."""
    file = folder / f"{name}.npy"
    if not file.exists():
        np.save(file, TensorDataset(path, (name,))[:][ARRAYS[name]].numpy())
    return np.load(file, mmap_mode="r")


def synthetic(folder: Path, count: int, side: int) -> Path:
    """A store of `count` samples of noise; the contents make no difference to raw reads."""
    path = folder / "tensors.zarr"
    if not path.exists():
        write_store(path, [sample(index, side, side) for index in range(count)], store_fields(side, side))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, help="a tensors.zarr; 404 synthetic samples otherwise")
    parser.add_argument("--folder", type=Path, help="for what is written; kept if given")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 12, 32])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--competitors", nargs="*", default=[], help=f"all, or of: {', '.join(COMPETITORS)}")
    parser.add_argument("--only", nargs="*", default=[], help="parts to run; all otherwise")
    options = parser.parse_args()
    batches, rounds = options.batch, options.rounds
    names = list(COMPETITORS) if options.competitors == ["all"] else options.competitors
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = options.store or synthetic(folder, 404, 640)
        parts: dict[str, Callable[[], Any]] = {
            "opening": lambda: opening(path, folder),
            "sequential": lambda: sequential(path, folder, batches, rounds),
            "shuffled": lambda: shuffled(path, batches, rounds),
            "epochs": lambda: epochs(path, batches[0], 9),
            "normalising": lambda: normalising(path, batches[0], rounds),
            "memory": lambda: memory(path),
            "competitors": lambda: against(path, folder, names, batches[0], rounds) if names else {},
        }
        for name in options.only or parts:
            print(json.dumps({name: parts[name]()}, indent=1), flush=True)


if __name__ == "__main__":
    main()
