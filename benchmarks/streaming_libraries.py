"""Libraries that stream samples, reading the same images and maps, each as its documentation says is fastest.

A library writes its own copy of the samples into a folder and gives a function that reads an epoch: batches
of arrays by name, in order or shuffled in the library's own way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.stores import TOUCHED
from ocr.datasets import TensorDataset

Epoch = Callable[[str], Iterable[dict[str, Any]]]


def samples(dataset: TensorDataset) -> Iterator[dict[str, np.ndarray]]:
    """Give the images and maps of every sample, in order."""
    return ({name: batch[name][0].numpy() for name in TOUCHED} for batch in dataset.batches(1))


def webdataset(dataset: TensorDataset, folder: Path, batch: int) -> Epoch:
    """Tar shards of raw bytes, copied into reused memory; shuffled by a buffer, as streaming allows."""
    import webdataset as library

    with library.ShardWriter(str(folder / "%04d.tar"), maxsize=200_000_000, verbose=0) as writer:
        for row, sample in enumerate(samples(dataset)):
            writer.write({"__key__": f"{row:08}"} | {f"{n}.bin": a.tobytes() for n, a in sample.items()})
    shards = sorted(map(str, folder.glob("*.tar")))
    outs = {name: dataset[:batch][name].numpy().copy() for name in TOUCHED}

    def epoch(order: str) -> Iterator[dict[str, Any]]:
        shuffled = order == "shuffled"
        stored = library.WebDataset(shards, shardshuffle=len(shards) if shuffled else False)
        found = iter(stored.shuffle(64) if shuffled else stored)
        for start in range(0, len(dataset), batch):
            size = min(batch, len(dataset) - start)
            for position, sample in enumerate(islice(found, size)):
                for name, out in outs.items():
                    out[position] = np.frombuffer(sample[f"{name}.bin"], out.dtype).reshape(out.shape[1:])
            yield {name: out[:size] for name, out in outs.items()}

    return epoch


def litdata(dataset: TensorDataset, folder: Path, batch: int) -> Epoch:
    """Chunks of 64 MB written by its writer, read by its own loader."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=64 << 20)
    for row, sample in enumerate(samples(dataset)):
        writer.add_item(row, {name: torch.from_numpy(array) for name, array in sample.items()})
    writer.done()
    writer.merge()

    def epoch(order: str) -> Iterable[dict[str, Any]]:
        stored = StreamingDataset(str(folder), shuffle=order == "shuffled")
        return StreamingDataLoader(stored, batch_size=batch, num_workers=0)

    return epoch


def mosaicml_streaming(dataset: TensorDataset, folder: Path, batch: int) -> Epoch:
    """Local MDS shards of typed arrays, in a DataLoader."""
    sys.modules.setdefault("streaming.vision", ModuleType("streaming.vision"))  # wants torchvision; not used
    from streaming import MDSWriter, StreamingDataset

    sizes = {n: f"{a.dtype}:{','.join(map(str, a.shape))}" for n, a in next(samples(dataset)).items()}
    columns = {name: f"ndarray:{size}" for name, size in sizes.items()}
    with MDSWriter(out=str(folder / "mds"), columns=columns, exist_ok=True) as writer:
        for sample in samples(dataset):
            writer.write(sample)

    def epoch(order: str) -> Iterable[dict[str, Any]]:
        stored = StreamingDataset(local=str(folder / "mds"), shuffle=order == "shuffled", batch_size=batch)
        return DataLoader(stored, batch_size=batch)

    return epoch


def dali(dataset: TensorDataset, folder: Path, batch: int) -> Epoch:
    """A file an array and sample, read by pipelines of `readers.numpy` on two threads; full batches alone."""
    from nvidia.dali import fn, pipeline_def

    for row, sample in enumerate(samples(dataset)):
        for name, array in sample.items():
            (folder / name).mkdir(exist_ok=True)
            np.save(folder / name / f"{row:08}.npy", array)

    @pipeline_def(batch_size=batch, num_threads=2, device_id=None)
    def pipeline(shuffle: bool) -> Any:
        options = {"random_shuffle": shuffle, "seed": 7, "dont_use_mmap": False}
        return tuple(fn.readers.numpy(file_root=str(folder / name), **options) for name in TOUCHED)

    built = {"sequential": pipeline(False), "shuffled": pipeline(True)}

    def epoch(order: str) -> Iterator[dict[str, Any]]:
        for _ in range(len(dataset) // batch):
            views = [np.asarray(found.as_tensor()) for found in built[order].run()]
            yield dict(zip(TOUCHED, views, strict=True))

    return epoch


STREAMING: dict[str, Callable[[TensorDataset, Path, int], Epoch]] = {
    "WebDataset": webdataset,
    "LitData": litdata,
    "MosaicML Streaming": mosaicml_streaming,
    "DALI (CPU)": dali,
}
