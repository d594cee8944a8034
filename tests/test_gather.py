"""Gathering gives what torch's `index_select` gives, by either way of copying."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ocr.datasets import TensorDataset
from ocr.datasets.buffers import BufferPool
from ocr.datasets.gather import Gathering, load_copy
from tests.stores import sample, tensors_store


def gather(samples: torch.Tensor, rows: Any, out: torch.Tensor) -> None:
    gathering = Gathering()
    gathering.copy(samples, rows, out)
    gathering.help()


SMALL, LARGE, ODD = (3, 8, 8), (3, 512, 512), (3, 511, 513)


@pytest.mark.parametrize("shape", [SMALL, LARGE, ODD], ids=["cached", "streamed", "no whole lines"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rows", [[4, 0, 4, 2], range(1, 5), np.arange(5)[::-1][:4]])
def test_any_rows_of_any_type_come_in_order(shape: tuple[int, ...], dtype: torch.dtype, rows: Any) -> None:
    samples = torch.randint(0, 256, (5, *shape), dtype=torch.uint8).to(dtype)
    out = BufferPool().take((len(rows), *shape), dtype)
    gather(samples, rows, out)
    assert torch.equal(out, samples[torch.tensor(list(rows), dtype=torch.int64)])


@pytest.mark.parametrize("shape", [SMALL, LARGE])
@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_that_is_not_there_is_an_error(shape: tuple[int, ...], row: int) -> None:
    samples = torch.zeros((5, *shape), dtype=torch.uint8)
    with pytest.raises(IndexError):
        gather(samples, [0, 1, 2, row], BufferPool().take((4, *shape), torch.uint8))


@pytest.mark.parametrize("shape", [SMALL, LARGE])
@pytest.mark.parametrize("room", [3, 5])
def test_a_batch_of_another_length_is_not_written_beyond(shape: tuple[int, ...], room: int) -> None:
    samples = torch.zeros((5, *shape), dtype=torch.uint8)
    with pytest.raises(ValueError, match=f"4 rows for a batch of {room}"):
        gather(samples, [0, 1, 2, 3], BufferPool().take((room, *shape), torch.uint8))


@pytest.mark.parametrize("shape", [SMALL, LARGE, ODD])
def test_threads_that_help_share_the_copy_of_several_arrays(shape: tuple[int, ...]) -> None:
    first, second = (torch.randint(0, 256, (9, *shape), dtype=torch.uint8) for _ in range(2))
    rows = np.array([8, 0, 3, 3, 7])
    outs = [BufferPool().take((5, *shape), torch.uint8) for _ in range(2)]
    reads: list[int] = []
    gathering = Gathering()
    for samples, out in zip((first, second), outs, strict=True):
        gathering.copy(samples, rows, out)
    for number in range(20):
        gathering.read(lambda number=number: reads.append(number))
    with ThreadPoolExecutor(4) as pool:
        for helping in [pool.submit(gathering.help) for _ in range(4)]:
            helping.result()
    assert sorted(reads) == list(range(20))
    assert torch.equal(outs[0], first[rows])
    assert torch.equal(outs[1], second[rows])
    outs[0].zero_()
    gathering.help()
    assert not outs[0].any()  # nothing is done twice


def test_a_processor_that_does_not_tell_its_features_gathers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("failed to get host cpu features")

    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", refuse)
    monkeypatch.setattr("ocr.datasets.gather.load_copy", load_copy.__wrapped__)
    samples = torch.randint(0, 256, (4, *LARGE), dtype=torch.uint8)
    out = BufferPool().take((3, *LARGE), torch.uint8)
    gather(samples, [3, 1, 3], out)
    assert torch.equal(out, samples[[3, 1, 3]])


def test_shuffled_batches_of_a_large_canvas_are_the_stores_samples(tmp_path: Path) -> None:
    canvas = (512, 512)
    dataset = TensorDataset(tensors_store(tmp_path, 5, canvas), fields=("image", "thresh_map"))
    for batch in dataset.batches(4, "shuffled", seed=1):
        for position, name in enumerate(batch["sample_id"]):
            expected = sample(int(name[7:12]), *canvas)
            np.testing.assert_array_equal(batch["images"][position], expected["image"])
            np.testing.assert_array_equal(batch["thresh_maps"][position], expected["thresh_map"])
