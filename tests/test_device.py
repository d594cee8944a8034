"""Batches on a device: whole though copies are late and buffers reused, one ahead, in step with its streams.

A stand-in for CUDA does what makes its copies dangerous: they happen later, from wherever they were told to.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ocr.datasets import TensorDataset
from ocr.datasets.batches import ARRAYS, ahead_on_device
from ocr.training import Stopwatch
from tests.support.stores import sample, tensors_store

CANVAS = (64, 64)


class Event:
    """Copies that were asked for before it, done when the host waits for it."""

    def __init__(self, copies: list[tuple[int, int, int]]) -> None:
        self.copies = copies
        self.waited_for = False

    def synchronize(self) -> None:
        assert self.waited_for, "the stream that computes does not wait for the copy"
        for target, source, size in self.copies:
            ctypes.memmove(target, source, size)


class Cuda:
    """Two streams: one that is current, and the one that copies."""

    def __init__(self) -> None:
        self.copies: list[tuple[int, int, int]] = []
        self.copying = False
        self.kept = 0

    @contextmanager
    def stream(self, _: Any) -> Iterator[None]:
        self.copying = True
        yield
        self.copying = False

    def record_event(self) -> Event:
        copies, self.copies = self.copies, []
        return Event(copies)

    def wait_event(self, event: Event) -> None:
        event.waited_for = True

    def move(self, tensor: torch.Tensor, *_: Any, non_blocking: bool = False) -> torch.Tensor:
        assert self.copying and non_blocking
        moved = torch.zeros_like(tensor, memory_format=torch.contiguous_format)
        self.copies.append((moved.data_ptr(), tensor.data_ptr(), tensor.nbytes))
        return moved

    def keep(self, *_: Any) -> None:
        self.kept += 1


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """Put the stand-in in CUDA's place."""
    stand_in = Cuda()
    monkeypatch.setattr("ocr.datasets.batches.device_copy.copying_stream", lambda _: stand_in)
    monkeypatch.setattr("torch.cuda.current_stream", lambda *_: stand_in)
    monkeypatch.setattr("torch.cuda.stream", stand_in.stream)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda tensor, *args, **kind: stand_in.move(tensor, *args, **kind)
    )
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.Tensor, "record_stream", stand_in.keep)
    return stand_in


@pytest.mark.parametrize("order", ["sequential", "shuffled"])
def test_batches_arrive_whole_from_buffers_that_are_reused(tmp_path: Path, cuda: Cuda, order: Any) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 23, CANVAS), (*ARRAYS, "sample_id"))
    seen = 0
    for batch in ahead_on_device(dataset.batches(2, order), torch.device("cuda")):
        for row, name in enumerate(batch["sample_id"]):
            wanted = sample(int(name[7:12]), *CANVAS)
            for field, key in ARRAYS.items():
                np.testing.assert_array_equal(batch[key][row], wanted[field])
            seen += 1
    assert seen == 23
    assert cuda.kept == 12 * len(ARRAYS)  # each is kept from being reused while the current stream computes


def test_the_next_batch_is_on_its_way_before_one_is_used(tmp_path: Path, cuda: Cuda) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 6, CANVAS), ("image",))
    asked = []

    def batches() -> Iterator[dict[str, Any]]:
        for number, batch in enumerate(dataset.batches(2)):
            asked.append(number)
            yield batch

    arriving = ahead_on_device(batches(), torch.device("cuda"))
    for number in range(3):
        next(arriving)
        assert asked == list(range(min(number + 2, 3)))
    assert next(arriving, None) is None


def test_images_are_prepared_where_they_are_copied_to(tmp_path: Path, cuda: Cuda) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 3, CANVAS), ("image", "prob_map"))
    prepared = []

    def prepare(images: torch.Tensor) -> torch.Tensor:
        assert cuda.copying
        prepared.append(images)
        return images

    batches = list(ahead_on_device(dataset.batches(2), torch.device("cuda"), prepare))
    assert [batch["images"] is images for batch, images in zip(batches, prepared, strict=True)] == [True] * 2


def test_a_lap_waits_for_the_stream_that_computes_and_not_for_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 13.0])
    waited = []
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    monkeypatch.setattr("torch.cuda.synchronize", lambda *_: pytest.fail("all streams are waited for"))
    current = SimpleNamespace(synchronize=lambda: waited.append(True))
    monkeypatch.setattr("torch.cuda.current_stream", lambda _: current)
    stopwatch = Stopwatch()
    stopwatch.start(torch.device("cuda"))
    stopwatch.lap("forward")
    assert (dict(stopwatch.parts), waited) == ({"forward": 3.0}, [True])
