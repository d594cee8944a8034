"""Memory of one and two processes that read a warm store, without the interpreters' own."""

from __future__ import annotations

import re
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.measure import show
from benchmarks.stores import MODES, Reading, open_warm, read_epoch
from ocr.datasets import TensorDataset

SPAWN = get_context("spawn")


def memory(asked: Reading) -> None:
    """Proportional set sizes after an epoch, of all processes together, to the store's bytes."""
    dataset, table = TensorDataset(asked.store), {}
    for mode in MODES:
        for count in (1, 2):
            together = SPAWN.Barrier(count, timeout=300)
            with SPAWN.Pool(count, _wait_for, (together,)) as processes:
                used = sum(processes.starmap(_grown, [(asked.store, mode)] * count, chunksize=1))
            of_store = round(used / dataset.sample_bytes / len(dataset), 3)
            table[f"{mode}, {count} at once"] = {"GB": round(used / 1e9, 3), "× the store": of_store}
    show("memory", table, samples=len(dataset))


def _wait_for(others: Any) -> None:
    global together
    together = others


def _grown(store: Path, mode: str) -> int:
    """Bytes that this process holds more when all have read the store."""
    before = _proportional_set_size()
    dataset = open_warm(store, mode)
    read_epoch(dataset, 16)
    together.wait()
    grown = _proportional_set_size() - before
    together.wait()
    return grown


def _proportional_set_size() -> int:
    told = re.findall(r"Pss: *(\d+)", Path("/proc/self/smaps_rollup").read_text())
    return int(told[0]) * 1024
