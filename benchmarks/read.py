"""How fast a store is read, beside the machine's own limits; every side in the same process, in turns.

    python -m benchmarks.read                        # 404 synthetic samples at 640 x 640
    python -m benchmarks.read --store work/val/tensors.zarr --batch 12 16 32
    python -m benchmarks.read --competitors all      # after pip install -r benchmarks/requirements.txt

"Touch" reads one byte of every 4 KiB, as little as shows that a page is there. Rates are the median of
rounds in which all sides take turns; on a busy machine compare the sides, not the rates.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.read_competitors import COMPETITORS, TOUCHED
from ocr.cache import CacheParams
from ocr.datasets import TensorDataset
from ocr.datasets.normalise import Normaliser
from tests.stores import fields as store_fields
from tests.stores import sample, write_store

Epoch = Callable[[], int]
"""Reads everything once and gives the number of samples."""


def touch(arrays: Iterable[Any]) -> int:
    """Read one byte of every page."""
    return sum(int(np.asarray(array).reshape(-1).view(np.uint8)[::4096].sum()) for array in arrays)


def touch_batch(batch: dict[str, Any]) -> int:
    """Touch a batch's images and maps; gives its number of samples."""
    touch(batch[name].numpy() for name in TOUCHED if name in batch)
    return len(batch["sample_id"])


def rates(sides: dict[str, Epoch], rounds: int, pause: float = 0) -> dict[str, dict[str, float]]:
    """Samples a second of each side, and CPU milliseconds a sample, taking turns.

    `pause` lets threads that a side left busy (prefetching what nobody will read) come to rest.
    """
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        order = list(sides.items())
        if number:  # after the first round, which only warms up
            random.Random(number).shuffle(order)
        for name, epoch in order:
            time.sleep(pause)
            began, used = time.perf_counter(), time.process_time()
            count = epoch()
            wall[name].append(count / (time.perf_counter() - began))
            cpu[name].append(1e3 * (time.process_time() - used) / count)
    return {
        name: {
            "samples_s": round(median(wall[name][1:])),
            "best": round(max(wall[name])),
            "cpu_ms": round(median(cpu[name][1:]), 4),
        }
        for name in sides
    }


def evict(path: Path) -> None:
    """Drop a store's files from the page cache."""
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as open_file:
                os.fsync(open_file.fileno())
                os.posix_fadvise(open_file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sequential(path: Path, folder: Path, batch: int, rounds: int) -> dict[str, Any]:
    """Views in order, against views over one `.npy` memmap of the same bytes."""
    datasets = {mode: _warm(path, mode) for mode in ("mmap", "ram")}
    datasets["ram, huge pages"] = _warm(path, "ram", huge_pages=True)
    memmap = _npy(datasets["mmap"], folder)

    def views() -> int:
        for start in range(0, len(memmap), batch):
            touch([memmap[start : start + batch]])
        return len(memmap)

    def store(dataset: TensorDataset) -> Epoch:
        return lambda: sum(touch_batch(b) for b in dataset.batches(batch))

    return rates({"npy memmap": views, **{name: store(d) for name, d in datasets.items()}}, rounds)


def shuffled(path: Path, batch: int, rounds: int) -> dict[str, Any]:
    """Gathered batches, against `index_select(out=)` over the same bytes in RAM."""
    dataset = _warm(path, "mmap")
    whole = dataset[:]
    tensors = [whole[name].clone() for name in TOUCHED]
    outs = [torch.empty((batch, *tensor.shape[1:]), dtype=tensor.dtype) for tensor in tensors]
    seeds = iter(range(10**6))

    def select() -> int:
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(next(seeds)))
        for rows in order.split(batch)[: len(dataset) // batch]:
            for tensor, out in zip(tensors, outs, strict=True):
                torch.index_select(tensor, 0, rows, out=out)
        return len(dataset) // batch * batch

    def store() -> int:
        batches = dataset.batches(batch, "shuffled", seed=next(seeds), drop_last=True)
        return sum(len(b["sample_id"]) for b in batches)

    return rates({"index_select(out=)": select, "store": store}, rounds)


def cold(path: Path, batch: int, rounds: int) -> dict[str, Any]:
    """The first epoch from the disk, opening and warming included, against reading the files."""
    files = sorted(path.glob("*/c.*.0.0.0"), key=lambda file: file.stat().st_ino)
    buffer = bytearray(1 << 22)

    def read() -> int:
        for file in files:
            with file.open("rb", buffering=0) as open_file:
                os.posix_fadvise(open_file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
                while open_file.readinto(buffer):
                    pass
        return len(TensorDataset(path, fields=()))

    def epoch(mode: str, warm: bool = True) -> Epoch:
        def run() -> int:
            dataset = TensorDataset(path, cache=CacheParams(mode=mode))  # type: ignore[arg-type]
            if warm:
                dataset.warm()
            return sum(touch_batch(b) for b in dataset.batches(batch))

        return run

    sides = {"read the files": read, "mmap": epoch("mmap"), "ram": epoch("ram"), "off": epoch("off", False)}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            evict(path.resolve())
            began = time.perf_counter()
            side()
            found[name].append(time.perf_counter() - began)
    return {
        name: {"seconds": round(min(times), 3), "median": round(median(times), 3)}
        for name, times in found.items()
    }


def epochs(path: Path, batch: int) -> dict[str, float]:
    """Seconds of epochs 0, 1 and 2 after warming a cold store."""
    evict(path.resolve())
    dataset = _warm(path, "mmap")
    found = {}
    for epoch in range(3):
        began = time.perf_counter()
        count = sum(touch_batch(b) for b in dataset.batches(batch))
        found[f"epoch {epoch}"] = round(time.perf_counter() - began, 4)
    return {**found, "samples": count}


def normalising(path: Path, batch: int, rounds: int) -> dict[str, Any]:
    """uint8 to normalised float32 and bf16, against the formula on fresh memory."""
    images = _warm(path, "mmap")[:batch]["images"]
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
    return rates(sides, rounds)


def opening(path: Path, folder: Path) -> dict[str, float]:
    """Milliseconds to open a store with all its fields: this one, and one of 100,000 tiny samples."""
    large = folder / "large" / "tensors.zarr"
    if not large.exists():
        large.parent.mkdir()
        samples = [sample(index, 16, 16) for index in range(32)] * 3125
        write_store(large, samples, store_fields(16, 16), samples_per_chunk=32)
    found = {}
    for name, store in (("this store", path), ("100,000 samples", large)):
        times = []
        for _ in range(5):
            began = time.perf_counter()
            dataset = TensorDataset(store)
            times.append(1e3 * (time.perf_counter() - began))
            del dataset
        found[name] = round(min(times), 1)
    return found


PSS = """
import sys, json, re
from ocr.cache import CacheParams
from ocr.datasets import TensorDataset
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
print(json.dumps([before, pss(), sum(a.nbytes for a in dataset._reader.arrays.values())]), flush=True)
sys.stdin.readline()
"""


def memory(path: Path, mode: str, ranks: int) -> dict[str, float]:
    """Memory of `ranks` processes that read a warm store, without the interpreters' own, to the store's."""
    command = [sys.executable, "-c", PSS, str(path), mode]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(ranks)
    ]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    found = []
    for process in processes:
        assert process.stdin and process.stdout
        process.stdin.write("\n")
        process.stdin.flush()
        found.append(json.loads(process.stdout.readline()))
    for process in processes:
        process.communicate("\n")
    own = sum(after - before for before, after, _ in found)
    return {"GB": round(own / 1e9, 3), "of_the_store": round(own / found[0][2], 3)}


def against(path: Path, folder: Path, names: list[str], batch: int, rounds: int) -> dict[str, Any]:
    """Other libraries over the same arrays, each by its own documented best use."""
    dataset, in_ram = _warm(path, "mmap"), _warm(path, "ram", huge_pages=True)
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
        sides: dict[str, Epoch] = {}
        for name, reader in ready.items():
            sides[name] = partial(reader, order)
        for label, stored in (("warmstore", dataset), ("warmstore, ram, huge pages", in_ram)):
            sides[label] = partial(_epoch, stored, batch, order)
        results[order] = rates(sides, rounds, pause=0.5)
    return results


def _epoch(dataset: TensorDataset, batch: int, order: Literal["sequential", "shuffled"]) -> int:
    return sum(touch_batch(b) for b in dataset.batches(batch, order, seed=time.perf_counter_ns()))


def _warm(path: Path, mode: str, **params: Any) -> TensorDataset:
    dataset = TensorDataset(path, cache=CacheParams(mode=mode, **params))  # type: ignore[arg-type]
    dataset.warm()
    return dataset


def _npy(dataset: TensorDataset, folder: Path) -> np.memmap:
    """One `.npy` file with every sample's images and maps end to end, mapped."""
    path = folder / "samples.npy"
    if not path.exists():
        shape = (len(dataset), dataset.sample_bytes)
        array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        for row, batch in enumerate(dataset.batches(1)):
            parts = [batch[name].numpy().reshape(-1).view(np.uint8) for name in TOUCHED]
            array[row] = np.concatenate(parts)
        array.flush()
    return np.load(path, mmap_mode="r")


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
    parser.add_argument("--only", nargs="*", default=[], help="parts to run: sequential, shuffled, cold …")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = options.store or synthetic(folder, 404, 640)
        parts: dict[str, Callable[[], Any]] = {"opening": lambda: opening(path, folder)}
        for batch in options.batch:
            parts[f"sequential, batch {batch}"] = lambda b=batch: sequential(path, folder, b, options.rounds)
            parts[f"shuffled, batch {batch}"] = lambda b=batch: shuffled(path, b, options.rounds)
        batch = options.batch[0]
        parts["cold"] = lambda: cold(path, batch, 3)
        parts["epochs"] = lambda: epochs(path, batch)
        parts["normalising"] = lambda: normalising(path, batch, options.rounds)
        for mode in ("mmap", "ram"):
            for ranks in (1, 2):
                parts[f"memory, {mode}, {ranks} process(es)"] = lambda m=mode, r=ranks: memory(path, m, r)
        names = list(COMPETITORS) if options.competitors == ["all"] else options.competitors
        if names:
            parts["competitors"] = lambda: against(path, folder, names, batch, options.rounds)
        for name, part in parts.items():
            if not options.only or any(name.startswith(wanted) for wanted in options.only):
                print(json.dumps({name: part()}, indent=1), flush=True)


if __name__ == "__main__":
    main()
