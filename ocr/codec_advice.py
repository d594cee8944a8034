"""Which codec fills the RAM cache soonest on this machine: its disk measured against decompression."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from pipeline.codec import decode, encode
from pipeline.direct import read_direct
from pipeline.mapped import MappedArray
from pipeline.stage import Chunked, Codec
from pipeline.store import Store

_DISK_BYTES = 128 << 20
_READERS = 8


@dataclass(frozen=True)
class CodecSpeed:
    """A codec on samples of a store: how small, how fast, and what a cold start with it would take.

    `ratio`: raw bytes to stored ones. `decode_rate`: raw bytes a second, on all cores.
    `cold_seconds`: filling the RAM cache from a cold disk, the slower of reading and decoding.
    """

    codec: Codec
    ratio: float
    decode_rate: float
    stored_bytes: int
    cold_seconds: float


def codec_speeds(store: Store, samples: int = 8, threads: int = 0) -> list[CodecSpeed]:
    """Measure every codec on some samples of a `tensors` store, the fastest cold start first.

    Reads up to 128 MB of the store from the disk, past the page cache, and takes about a second.
    """
    names = [field.name for field in store.declared.values() if isinstance(field, Chunked)]
    arrays = [MappedArray(store, name) for name in names]
    rows = np.unique(np.linspace(0, len(store) - 1, samples).astype(int))
    parts = [
        array.gather([row], np.empty((1, *array.shape[1:]), array.dtype)) for array in arrays for row in rows
    ]
    raw, disk = sum(array.nbytes for array in arrays), disk_rate(store)
    speeds = []
    for codec in get_args(Codec):
        encoded = [bytes(encode(codec, part)) for part in parts]
        ratio = sum(part.nbytes for part in parts) / sum(map(len, encoded))
        jobs = [
            partial(decode, codec, data, str(part.dtype), part.shape)
            for data, part in zip(encoded, parts, strict=True)
        ]
        rate = sum(part.nbytes for part in parts) / _seconds(jobs, threads or os.cpu_count() or 1)
        # Raw bytes are read to their place: nothing is decoded.
        decoding = 0.0 if codec == "none" else raw / rate
        speeds.append(CodecSpeed(codec, ratio, rate, int(raw / ratio), max(raw / ratio / disk, decoding)))
    return sorted(speeds, key=lambda speed: speed.cold_seconds)


def disk_rate(store: Store) -> float:
    """Bytes a second that the store's disk gives to the cache's threads, past the page cache."""
    files = [(path.stat().st_size, path) for path in store.path.rglob("c.*") if path.is_file()]
    chosen: list[Path] = []
    read = 0
    for size, path in sorted(files, reverse=True):
        if size and read < _DISK_BYTES:
            chosen.append(path)
            read += size
    for path in chosen:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(_read, chosen))
    return read / (time.perf_counter() - began) if read else float("inf")


def _read(path: Path) -> None:
    memory = np.frombuffer(mmap.mmap(-1, path.stat().st_size), np.uint8)
    if not read_direct(path, memory):
        path.read_bytes()


def _seconds(jobs: Sequence[Callable[[], object]], threads: int) -> float:
    """Best of three times that all jobs take on some threads."""
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(3):
            began = time.perf_counter()
            list(pool.map(lambda job: job(), jobs))
            times.append(time.perf_counter() - began)
    return min(times)
