"""The losses: against plain formulas, and finite over the whole range of float16."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ocr.detectors import DetectorOutput
from ocr.params import LossParams
from ocr.training import approximate_binary_map, balanced_bce, detector_loss, dice_loss, masked_l1

LARGEST = 65504.0
EVERY_HALF = np.arange(2**16, dtype=np.uint16).view(np.float16)
EVERY_HALF = EVERY_HALF[np.isfinite(EVERY_HALF)]
HALF = st.sampled_from(EVERY_HALF.tolist())
PIXELS = 12
BIT = st.integers(0, 1)


def maps_of(bits: list[int]) -> Tensor:
    return torch.tensor(bits, dtype=torch.float32).reshape(1, 1, 1, -1)


def batch_of(prob_map: Tensor, prob_mask: Tensor | None = None) -> dict[str, Tensor]:
    """A batch in its stored dtypes."""
    mask = torch.ones_like(prob_map) if prob_mask is None else prob_mask
    return {
        "prob_maps": prob_map.to(torch.uint8),
        "prob_masks": mask.to(torch.uint8),
        "thresh_maps": (0.3 + 0.4 * prob_map).to(torch.float16),
        "thresh_masks": mask.to(torch.uint8),
    }


def row(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(values, min_size=PIXELS, max_size=PIXELS)


@settings(max_examples=60, deadline=None)
@given(
    row(HALF),
    row(HALF),
    st.lists(BIT, min_size=PIXELS, max_size=PIXELS),
    st.sampled_from(["half", "bf16", "single"]),
)
@example([-LARGEST, LARGEST] * 6, [LARGEST, -LARGEST] * 6, [1, 0] * 6, "half")
@example([-LARGEST] * 12, [LARGEST] * 12, [1] * 12, "half")
def test_every_logit_of_float16_gives_finite_losses_and_gradients(
    prob: list[float], thresh: list[float], text: list[int], dtype: str
) -> None:
    kind = {"half": torch.float16, "bf16": torch.bfloat16, "single": torch.float32}[dtype]
    logits = [
        torch.tensor(values, dtype=kind).reshape(1, 1, 1, -1).requires_grad_() for values in (prob, thresh)
    ]
    losses = detector_loss(DetectorOutput(*logits), batch_of(maps_of(text)), LossParams())
    assert all(value.dtype == torch.float32 and torch.isfinite(value) and value >= 0 for value in losses)
    torch.autograd.backward(losses.total)
    for logit in logits:
        assert logit.grad is not None and torch.isfinite(logit.grad).all()


def test_the_step_function_is_a_probability_for_every_logit_of_float16() -> None:
    every = torch.from_numpy(EVERY_HALF)
    for thresh in (every.flip(0), torch.full_like(every, LARGEST), torch.full_like(every, -LARGEST)):
        step = approximate_binary_map(every.sigmoid(), thresh.sigmoid())
        assert step.dtype == torch.float32 and step.min() >= 0 and step.max() <= 1


def test_a_map_of_every_logit_of_float16_gives_finite_losses_and_gradients() -> None:
    every = torch.from_numpy(EVERY_HALF).reshape(1, 1, 1, -1)
    logits = every.clone().requires_grad_(), every.flip(-1).requires_grad_()
    text = (torch.arange(every.numel()) % 3 == 0).float().reshape(every.shape)
    losses = detector_loss(DetectorOutput(*logits), batch_of(text), LossParams())
    torch.autograd.backward(losses.total)
    assert all(torch.isfinite(value) for value in losses)
    assert all(logit.grad is not None and torch.isfinite(logit.grad).all() for logit in logits)


@pytest.mark.parametrize("steepness", [1.0, 50.0])
def test_the_step_function_is_equation_2(steepness: float) -> None:
    prob, thresh = np.linspace(0, 1, 25), np.linspace(0.9, 0.1, 25)
    expected = 1 / (1 + np.exp(-steepness * (prob - thresh)))
    actual = approximate_binary_map(torch.tensor(prob), torch.tensor(thresh), steepness)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-4)


def bce_by_hand(logits: list[float], target: list[int], mask: list[int], ratio: float) -> float:
    loss = [np.logaddexp(0, -x if t else x) for x, t in zip(logits, target, strict=True)]
    positive = [v for v, t, m in zip(loss, target, mask, strict=True) if m and t]
    negative = sorted((v for v, t, m in zip(loss, target, mask, strict=True) if m and not t), reverse=True)
    if positive:
        negative = negative[: int(min(len(negative), ratio * len(positive)))]
    kept = positive + negative
    return float(np.sum(kept)) / max(len(kept), 1)


@settings(deadline=None)
@given(
    row(st.floats(-30, 30, width=32)),
    st.lists(BIT, min_size=PIXELS, max_size=PIXELS),
    st.lists(BIT, min_size=PIXELS, max_size=PIXELS),
    st.sampled_from([1.0, 2.0, 3.0]),
)
@example([1.0] * 12, [0] * 12, [1] * 12, 3.0)
@example([1.0] * 12, [1] * 12, [1] * 12, 3.0)
@example([1.0] * 12, [1] * 12, [0] * 12, 3.0)
def test_hard_negatives_are_those_that_sorting_finds(
    logits: list[float], target: list[int], mask: list[int], ratio: float
) -> None:
    actual = balanced_bce(torch.tensor(logits).reshape(1, 1, 1, -1), maps_of(target), maps_of(mask), ratio)
    assert actual.item() == pytest.approx(bce_by_hand(logits, target, mask, ratio), rel=1e-4, abs=1e-6)


def test_negatives_beyond_the_ratio_get_no_gradient() -> None:
    logits = torch.tensor([[[[2.0, 5.0, 4.0, 3.0, -1.0, -2.0]]]], requires_grad=True)
    torch.autograd.backward(balanced_bce(logits, maps_of([1, 0, 0, 0, 0, 0]), torch.ones(1, 1, 1, 6), 3.0))
    assert logits.grad is not None
    assert (logits.grad.flatten() != 0).tolist() == [True, True, True, True, False, False]


def test_negatives_of_equal_loss_share_what_is_left() -> None:
    logits = torch.tensor([[[[2.0, 5.0, 1.0, 1.0, 1.0, -2.0]]]], requires_grad=True)
    torch.autograd.backward(balanced_bce(logits, maps_of([1, 0, 0, 0, 0, 0]), torch.ones(1, 1, 1, 6), 3.0))
    assert logits.grad is not None
    gradient = logits.grad.flatten()
    assert gradient[2] == gradient[3] == gradient[4] > 0 and gradient[5] == 0
    assert gradient[2].item() == pytest.approx(2 / 3 / 4 * torch.tensor(1.0).sigmoid().item())


def test_negatives_without_any_loss_leave_positives_and_the_hidden_alone() -> None:
    logits = torch.tensor([[[[2.0, -2000.0, -2000.0, -2000.0, 3.0]]]], requires_grad=True)
    mask = maps_of([1, 1, 1, 1, 0])
    loss = balanced_bce(logits, maps_of([1, 0, 0, 0, 0]), mask, 2.0)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(np.log1p(np.exp(-2.0)) / 3)
    assert logits.grad is not None and logits.grad[..., 4] == 0


def test_dice_is_0_for_the_same_map_and_1_for_disjoint_ones() -> None:
    text, mask = maps_of([1, 1, 0, 0]), torch.ones(1, 1, 1, 4)
    assert dice_loss(text, text, mask).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(1 - text, text, mask).item() == 1
    assert dice_loss(maps_of([1, 0, 0, 0]), text, mask).item() == pytest.approx(1 - 2 * 1 / 3, abs=1e-6)


def test_masked_l1_is_a_mean_over_the_mask() -> None:
    prediction, target = torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0.3, 0.3, 0.5])
    assert masked_l1(prediction, target, torch.tensor([1.0, 0.0, 1.0])).item() == pytest.approx(0.1)
    assert masked_l1(prediction, target, torch.zeros(3)).item() == 0


def test_what_the_masks_hide_does_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = maps_of([1, 1, 0, 0] * 3)
    text = maps_of([1, 0, 1, 0] * 3)
    logits = [torch.randn(1, 1, 1, 12, generator=generator) for _ in range(2)]
    batch = batch_of(text, 1 - hidden)
    changed = {
        **batch,
        "prob_maps": (text + hidden).clamp(0, 1),
        "thresh_maps": batch["thresh_maps"] + hidden * 0.1,
    }
    losses = detector_loss(DetectorOutput(*logits), batch, LossParams())
    assert losses.total > 0
    same = DetectorOutput(*(logit + 9 * hidden for logit in logits))
    assert detector_loss(same, changed, LossParams()).total == losses.total


def test_the_total_is_weighted() -> None:
    output = DetectorOutput(torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4))
    batch = batch_of(torch.eye(4)[None, None])
    total, probability, binary, threshold = detector_loss(
        output, batch, LossParams(probability_weight=2, binary_weight=3, threshold_weight=4)
    )
    torch.testing.assert_close(total, 2 * probability + 3 * binary + 4 * threshold)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_change_the_losses(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    output = DetectorOutput(*(4 * torch.randn(2, 1, 32, 32, generator=generator) for _ in range(2)))
    batch = batch_of((torch.rand(2, 1, 32, 32, generator=generator) < 0.2).float())
    expected = detector_loss(output, batch, LossParams())
    with torch.autocast("cpu", dtype):
        actual = detector_loss(output, batch, LossParams())
    assert actual == expected


def example_batch(seed: int = 0) -> tuple[DetectorOutput, dict[str, Tensor]]:
    """Logits of three images and their maps in the stored dtypes: a tenth is text, a tenth is hidden."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 1, 72, 96)
    text, hidden, near, thresh = torch.rand((4, *shape), generator=generator)
    output = DetectorOutput(*(4 * torch.randn((2, *shape), generator=generator)))
    return output, {
        "prob_maps": (text < 0.1).to(torch.uint8),
        "prob_masks": (hidden > 0.1).to(torch.uint8),
        "thresh_maps": (0.3 + 0.4 * thresh).half(),
        "thresh_masks": (near < 0.3).to(torch.uint8),
    }


@pytest.mark.parametrize("steepness", [1.0, 50.0, 5000.0])
def test_double_precision_agrees(steepness: float) -> None:
    output, batch = example_batch()
    target, mask, thresh_mask = (batch[name].double() for name in ("prob_maps", "prob_masks", "thresh_masks"))
    logits, thresh_logits = (one.double() for one in output[:2])
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    positives = int((target * mask).sum())
    hard = bce[(mask > target)].sort(descending=True).values[: 3 * positives]
    step = torch.sigmoid(steepness * (logits.sigmoid() - thresh_logits.sigmoid())) * mask
    difference = ((thresh_logits.sigmoid() - batch["thresh_maps"]).abs() * thresh_mask).sum()
    losses = detector_loss(output, batch, LossParams(steepness=steepness))
    expected = (
        ((bce * target * mask).sum() + hard.sum()) / (4 * positives),
        1 - 2 * (step * target).sum() / (step.sum() + positives),
        difference / thresh_mask.sum(),
    )
    for actual, wanted in zip(losses[1:], expected, strict=True):
        assert actual.dtype == torch.float32 and actual.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_logits_of_any_dtype_are_read_as_float32(dtype: torch.dtype) -> None:
    output, batch = example_batch()
    rounded = DetectorOutput(*(one.to(dtype) for one in output[:2]))
    same = DetectorOutput(*(one.float() for one in rounded[:2]))
    assert detector_loss(rounded, batch, LossParams()) == detector_loss(same, batch, LossParams())


def test_sums_over_a_large_batch_of_equal_losses_are_exact() -> None:
    zeros = torch.zeros(4, 1, 512, 512)
    flags = dict.fromkeys(("prob_maps", "prob_masks", "thresh_masks"), torch.ones_like(zeros).bool())
    terms = detector_loss(DetectorOutput(zeros, zeros), {**flags, "thresh_maps": zeros + 0.3}, LossParams())
    exact = torch.tensor([np.log(2), 1 - 2 * 0.5 / 1.5, 0.2], dtype=torch.float32)
    torch.testing.assert_close(torch.stack(terms[1:]), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("which", [0, 1])
def test_nan_is_not_hidden(which: int) -> None:
    output, batch = example_batch()
    batch = {**batch, **dict.fromkeys(("prob_masks", "thresh_masks"), torch.ones_like(batch["prob_maps"]))}
    output[which][1, 0, 5, 5] = float("nan")
    assert detector_loss(output, batch, LossParams()).total.isnan()
    output[which][:] = float("nan")
    assert detector_loss(output, batch, LossParams()).total.isnan()


def test_layout_and_dtype_of_a_batch_do_not_matter() -> None:
    output, batch = example_batch()
    expected = detector_loss(output, batch, LossParams())
    columns = DetectorOutput(*(one.mT.contiguous().mT for one in output[:2]))
    for dtype in (torch.bool, torch.float32):
        flags = {name: batch[name].to(dtype) for name in ("prob_maps", "prob_masks", "thresh_masks")}
        for actual, wanted in zip(
            detector_loss(columns, {**batch, **flags}, LossParams()), expected, strict=True
        ):
            torch.testing.assert_close(actual, wanted)


def test_one_negative_counts_at_least() -> None:
    logits, text = torch.tensor([[[[0.0, 3.0, 1.0]]]]), maps_of([1, 0, 0])
    actual = balanced_bce(logits, text, torch.ones_like(text), negative_ratio=0.01)
    assert actual.item() == pytest.approx((np.log(2) + np.log1p(np.exp(3))) / 2)


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_torchs_default_dtype_changes_nothing(default: torch.dtype, request: pytest.FixtureRequest) -> None:
    output, batch = example_batch()
    expected = detector_loss(output, batch, LossParams())
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(default)
    assert detector_loss(output, batch, LossParams()) == expected


def test_a_batch_of_no_samples_has_a_loss() -> None:
    output, batch = example_batch()
    none = DetectorOutput(*(one[:0] for one in output[:2]))
    losses = detector_loss(none, {name: values[:0] for name, values in batch.items()}, LossParams())
    assert losses[1:] == (0, 1, 0)
