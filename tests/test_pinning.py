"""The RAM cache as page-locked memory, against stand-ins for CUDA."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from torch.utils.data import DataLoader

from ocr.cache import CacheParams
from ocr.datasets import TensorDataset
from ocr.datasets.collate import as_collated
from ocr.datasets.pinning import register_with_cuda
from tests.reads import CANVAS, SAMPLE_BYTES, assert_reads, memory_of
from tests.stores import sample, tensors_store


def test_memory_for_a_device_is_mapped_shared_and_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """CUDA itself is not needed to see which memory it would be given, and when it is taken back."""
    calls: list[tuple[str, int]] = []

    class Runtime:
        def cudaHostRegister(self, address: int, length: int, flags: int) -> int:  # noqa: N802
            calls.append(("register", length))
            return 2 if len(calls) > 5 else 0

        def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
            calls.append(("unregister", 0))
            return 0

    path = tensors_store(tmp_path, 3, CANVAS)
    dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
    dataset.cache.warm(list(dataset._reader.arrays.values()), range(3), for_device=True)

    def kernel(size: int, *, device: str) -> None:
        kernels.append(device)
        raise RuntimeError("CUDA error: out of memory")  # what CUDA keeps of a refusal

    kernels: list[str] = []
    monkeypatch.setattr("torch.cuda.cudart", Runtime)
    monkeypatch.setattr("ocr.datasets.pinning.torch.zeros", kernel)
    assert register_with_cuda(dataset.cache.shared_ranges())
    assert sum(length for _, length in calls) == 3 * SAMPLE_BYTES
    assert kernels == []
    assert not register_with_cuda(dataset.cache.shared_ranges())
    assert "error 2" in caplog.text and kernels == ["cuda"]
    monkeypatch.undo()
    assert_reads(dataset, 3)
    del dataset
    assert [name for name, _ in calls].count("unregister") == 5


def test_warming_twice_registers_the_copy_once_and_leaves_it_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    runtime = SimpleNamespace(
        cudaHostRegister=lambda address, *_: calls.append(address) or 0, cudaHostUnregister=lambda _: 0
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.cudart", lambda: runtime)
    dataset = TensorDataset(tensors_store(tmp_path, 3, CANVAS), cache=CacheParams(mode="ram"))
    dataset.warm()
    memory, registered = memory_of(dataset), list(calls)
    assert len(registered) == 5
    assert dataset.warm().resident == 3
    assert memory_of(dataset) is memory
    assert calls == registered


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_worker_leaves_cuda_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS))
    loader = DataLoader(
        dataset, batch_sampler=[[2, 0]], num_workers=1, collate_fn=as_collated, multiprocessing_context="fork"
    )
    (batch,) = loader
    np.testing.assert_array_equal(batch["images"][0], sample(2, *CANVAS)["image"])
