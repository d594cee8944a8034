"""What runs on a CUDA device, on one: skipped where there is none, and run by `make gpu` where there is."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ocr.datasets import TensorDataset, collate
from ocr.datasets.batches import ARRAYS, BufferPool, Normaliser, ahead_on_device
from ocr.datasets.stored import CacheParams
from ocr.evaluation import compare_precisions, evaluate_detector
from ocr.maps import MapParams
from ocr.params import AugmentParams, LossParams
from ocr.training import EpochProfile, RandomStates, augment, detector_loss
from tests.support.pages import (
    LIGHTNING_WARNS,
    MEAN,
    SIDE,
    STD,
    Batch,
    loader,
    module,
    sample_of,
    seeing,
    trainer,
)
from tests.support.reads import CANVAS, SAMPLE_BYTES
from tests.support.stores import sample, tensors_store

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    *LIGHTNING_WARNS,
]
DEVICE = torch.device("cuda", 0)
FIELDS = (*ARRAYS, "sample_id")


@pytest.fixture(scope="module")
def samples() -> list[Batch]:
    return [{**sample_of(seed), "text": ["word"] * 4} for seed in range(5)]


def assert_arrives_whole(dataset: TensorDataset, size: int = 4, order: Any = "sequential") -> None:
    seen = 0
    for batch in ahead_on_device(dataset.batches(size, order), DEVICE):
        for row, name in enumerate(batch["sample_id"]):
            wanted = sample(int(name[7:12]), *CANVAS)
            for field, key in ARRAYS.items():
                assert batch[key].is_cuda
                np.testing.assert_array_equal(batch[key][row].cpu(), wanted[field])
            seen += 1
    assert seen == len(dataset)


@pytest.mark.parametrize("order", ["sequential", "shuffled"])
@pytest.mark.parametrize("mode", ["mmap", "ram", "off"])
def test_batches_arrive_whole(tmp_path: Path, mode: Any, order: Any) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 23, CANVAS), FIELDS, cache=mode)
    dataset.warm()
    for _ in range(3):
        assert_arrives_whole(dataset, order=order)


def test_the_ram_cache_is_page_locked_as_long_as_it_lives(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 8, CANVAS)
    for _ in range(2):  # the second finds what the first has given back
        dataset = TensorDataset(path, FIELDS, cache="ram")
        assert not dataset[:4]["images"].is_pinned()
        dataset.warm()
        assert all(dataset[2:6][key].is_pinned() for key in ARRAYS.values())
        assert_arrives_whole(dataset)
        del dataset
        gc.collect()


def test_a_batch_that_is_in_the_cache_by_half_arrives(tmp_path: Path) -> None:
    half = CacheParams(mode="ram", budget=3 * SAMPLE_BYTES)
    dataset = TensorDataset(tensors_store(tmp_path, 8, CANVAS), FIELDS, cache=half)
    dataset.warm()
    assert dataset[:3]["images"].is_pinned() and not dataset[4:8]["images"].is_pinned()
    for size in (2, 4, 8):
        assert_arrives_whole(dataset, size)


def test_epochs_take_no_more_of_the_device_than_the_first(tmp_path: Path) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 64, CANVAS), FIELDS, cache="ram")
    dataset.warm()
    taken = []
    for _ in range(6):
        for batch in ahead_on_device(dataset.batches(16), DEVICE):
            batch["images"].sum()
        torch.cuda.synchronize()
        taken.append(torch.cuda.memory_reserved())
    assert taken[-1] == taken[1]


def test_lent_buffers_are_page_locked() -> None:
    lent = BufferPool(pin=True).take((4, 8), torch.float32)
    assert lent.is_pinned()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_worker_forked_beside_cuda_reads(tmp_path: Path) -> None:
    torch.ones(1, device=DEVICE)
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS))
    workers = DataLoader(dataset, 2, num_workers=1, multiprocessing_context="fork", pin_memory=True)
    images = torch.cat([batch["images"] for batch in workers])
    np.testing.assert_array_equal(images[3], sample(3, *CANVAS)["image"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_normalising_is_that_of_the_host(dtype: torch.dtype) -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(2, 3, 64, 1)
    normalise = Normaliser(MEAN, STD, dtype)
    there = normalise(images.to(DEVICE))
    assert (there.dtype, there.device) == (dtype, DEVICE)
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(there.cpu(), normalise(images), rtol=2 * step, atol=2 * step)


def test_augmentation_is_that_of_the_host(samples: list[Batch]) -> None:
    batch = collate(samples)
    pixels = batch["images"].float() / 255
    here, there = (
        augment({**batch, "images": pixels.to(device)}, AugmentParams(crop=96), MapParams(), seed=1, epoch=2)
        for device in ("cpu", DEVICE)
    )
    torch.testing.assert_close(there["images"].cpu(), here["images"], rtol=1e-3, atol=1e-3)
    for key in ("prob_maps", "prob_masks", "thresh_maps", "thresh_masks"):
        assert torch.equal(there[key].cpu(), here[key])


def test_losses_are_those_of_the_host(samples: list[Batch]) -> None:
    batch, detector = collate(samples), module(SIDE)
    with torch.no_grad():
        output = detector(detector.prepared(batch["images"]))
    moved = {key: batch[key].to(DEVICE) for key in ("prob_maps", "prob_masks", "thresh_maps", "thresh_masks")}
    there = detector_loss(type(output)(*(maps.to(DEVICE) for maps in output[:2])), moved, LossParams())
    torch.testing.assert_close(
        torch.stack(there).cpu(),
        torch.stack(detector_loss(output, batch, LossParams())),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_a_training_on_the_device_learns_and_is_validated(
    tmp_path: Path, samples: list[Batch], precision: Any
) -> None:
    profile = EpochProfile()
    run = trainer(
        tmp_path, accelerator="gpu", devices=1, precision=precision, max_epochs=12, callbacks=[profile]
    )
    detector = module(SIDE)
    run.fit(detector, loader(samples), loader(samples))
    assert all(parameter.isfinite().all() for parameter in detector.parameters())
    assert detector.metric.images == len(samples) and profile.epochs[-1]["device_memory_peak"] > 0
    first, last = (profile.epochs[place] for place in (0, -1))
    assert first["forward_s"] > 0 and last["loss_s"] > 0
    assert 0 < float(run.callback_metrics["val/loss"]) < 5  # 5.4 before it learns


def test_maps_of_the_device_are_scored_like_those_of_the_host(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = []
    for accelerator, device in (("cpu", "cpu"), ("gpu", DEVICE)):
        detector = seeing(samples, monkeypatch)
        forward = detector.model.forward

        def seen(images: torch.Tensor, _forward: Any = forward, _device: Any = device) -> Any:
            output = _forward(images)
            return type(output)(*(maps.to(_device) for maps in output[:2]))

        monkeypatch.setattr(detector.model, "forward", seen)
        run = trainer(tmp_path, accelerator=accelerator, devices=1)
        scores += run.validate(detector, loader(samples), verbose=False)
    assert scores[1] == pytest.approx(scores[0], abs=1e-5) and scores[0]["val/hmean"] > 0.5


def test_precisions_stand_beside_float32(samples: list[Batch]) -> None:
    detector = module(SIDE).to(DEVICE)
    reference, again, half = compare_precisions(
        detector, [collate(samples)], ("32-true", "32-true", "16-mixed")
    )
    assert (again.largest_difference, again.moved(reference)) == (0, 0)
    assert half.failed is None and half.largest_difference < 0.05


def test_any_detector_on_the_device_is_judged(tmp_path: Path) -> None:
    store = tensors_store(tmp_path, 6, CANVAS)

    def predict(batch: Batch) -> torch.Tensor:
        return (batch["images"].to(DEVICE)[:, :1] > 127).float()

    def on_host(batch: Batch) -> torch.Tensor:
        return (batch["images"][:, :1] > 127).float()

    there, here = (evaluate_detector(store, one, batch_size=4) for one in (predict, on_host))
    assert there.iou == here.iou and there.cleval == here.cleval


def test_random_states_of_the_device_come_back() -> None:
    states = RandomStates()
    kept = states.state_dict()
    drawn = torch.rand(8, device=DEVICE)
    states.load_state_dict(kept)
    assert torch.equal(torch.rand(8, device=DEVICE), drawn)
