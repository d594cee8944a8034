"""The RAM cache as page-locked memory, against stand-ins for CUDA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from ocr.datasets import TensorDataset
from ocr.datasets.stored import CacheParams
from tests.support.reads import CANVAS, IMAGE_BYTES, SAMPLE_BYTES, assert_reads
from tests.support.stores import sample, tensors_store


class Runtime:
    """Registers memory, until it was asked `most` times."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.registered: dict[int, int] = {}

    def cudaHostRegister(self, address: int, length: int, flags: int) -> int:  # noqa: N802
        if len(self.registered) == self.most:
            return 2
        self.registered[address] = length
        return 0

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        del self.registered[address]
        return 0


@pytest.mark.parametrize("most", [5, 2])
def test_the_copy_is_registered_once_and_as_long_as_it_lives(
    tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runtime, launched = Runtime(most), []

    def launch(size: int, *, device: str) -> None:
        launched.append(device)
        raise RuntimeError("CUDA error: out of memory")  # what CUDA keeps of a refusal

    dataset = TensorDataset(tensors_store(tmp_path, 3, CANVAS), cache=CacheParams(mode="ram"))
    with monkeypatch.context() as cuda:
        cuda.setattr("torch.cuda.is_available", lambda: True)
        cuda.setattr("torch.cuda.cudart", lambda: runtime)
        cuda.setattr("torch.zeros", launch)
        assert dataset.warm().resident == 3
    assert ("error 2" in caplog.text) == (launched == ["cuda"]) == (most < 5)
    registered = dict(runtime.registered)
    assert sum(registered.values()) == (3 * SAMPLE_BYTES if most == 5 else 0)
    if most == 5:
        with monkeypatch.context() as cuda:
            cuda.setattr("torch.cuda.is_available", lambda: True)
            assert dataset.warm().resident == 3
    assert_reads(dataset, 3)
    assert runtime.registered == registered
    del dataset
    assert runtime.registered == {}


def test_no_view_lies_in_registered_memory_by_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(1)
    half = CacheParams(mode="ram", budget=3 * IMAGE_BYTES)  # the others are read from the store's files
    dataset = TensorDataset(tensors_store(tmp_path, 6, CANVAS), ("image", "sample_id"), cache=half)
    with monkeypatch.context() as cuda:
        cuda.setattr("torch.cuda.is_available", lambda: True)
        cuda.setattr("torch.cuda.cudart", lambda: runtime)
        dataset.warm()
    ((start, length),) = runtime.registered.items()
    assert length == 3 * IMAGE_BYTES
    whole = 0
    for first in range(5):
        images = dataset[first : first + 2]["images"]
        inside = [start <= image.data_ptr() < start + length for image in images]
        assert all(inside) or not any(inside)
        whole += all(inside)
    assert whole == 2
    assert_reads(dataset, 6)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_worker_leaves_cuda_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS))
    loader = DataLoader(dataset, batch_sampler=[[2, 0]], num_workers=1, multiprocessing_context="fork")
    (batch,) = loader
    np.testing.assert_array_equal(batch["images"][0], sample(2, *CANVAS)["image"])
