"""The losses' values on the host: those of torch, for any logits, flags and layout of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import ocr.losses
from ocr.loss_values import kept_negatives, loss_terms
from ocr.losses import Losses, LossParams, detector_loss
from ocr.model import DetectorOutput

SIDES = (3, 1, 72, 96)
SHARE = st.sampled_from([0.0, 0.002, 0.1, 0.5, 1.0])
Maps = dict[str, Tensor]


def logits(seed: int, spread: float, steps: float = 0.0) -> DetectorOutput:
    """Random logits; with `steps` in whole multiples of it, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    maps = (spread * torch.randn(SIDES, generator=generator) for _ in range(2))
    return DetectorOutput(*((one / steps).round() * steps if steps else one for one in maps))


def maps(seed: int, text: float, seen: float, thresh: float) -> Maps:
    """Random maps in their stored dtypes; the arguments are the shares of ones."""
    random = np.random.default_rng(seed)
    flags = {"prob_maps": text, "prob_masks": seen, "thresh_masks": thresh}
    batch = {name: torch.from_numpy(random.random(SIDES) < share) for name, share in flags.items()}
    return {
        **{name: flag.to(torch.uint8) for name, flag in batch.items()},
        "thresh_maps": torch.from_numpy(random.uniform(0.3, 0.7, SIDES).astype(np.float16)),
    }


def with_gradients(output: DetectorOutput, batch: Maps, params: LossParams) -> Losses:
    """The losses as training has them."""
    leaves = DetectorOutput(*(logits.detach().requires_grad_() for logits in output))
    return Losses(*(term.detach() for term in detector_loss(leaves, batch, params)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([0.1, 4.0, 40.0, 3e4]),
    st.sampled_from([0.0, 0.5, 8.0]),
    SHARE,
    SHARE,
    SHARE,
    st.sampled_from([0.01, 1.0, 3.0, 500.0]),
)
@example(0, 4.0, 0.0, 0.0, 1.0, 0.5, 3.0)  # no text: every negative counts
@example(0, 4.0, 0.0, 1.0, 1.0, 1.0, 3.0)  # no negative
@example(0, 4.0, 0.0, 0.1, 0.0, 0.0, 3.0)  # nothing is seen
@example(1, 4.0, 8.0, 0.002, 1.0, 0.5, 3.0)  # many negatives on the border
@example(0, 0.1, 0.5, 0.0, 1.0, 0.0, 0.01)  # nearly all losses are equal
def test_values_are_those_that_training_has(
    seed: int, spread: float, steps: float, text: float, seen: float, thresh: float, ratio: float
) -> None:
    output, batch = logits(seed, spread, steps), maps(seed, text, seen, thresh)
    params = LossParams(negative_ratio=ratio)
    expected = with_gradients(output, batch, params)
    for actual, wanted in zip(detector_loss(output, batch, params), expected, strict=True):
        assert actual.dtype == torch.float32 and not actual.requires_grad
        torch.testing.assert_close(actual, wanted, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("steepness", [1.0, 50.0, 5000.0])
def test_double_precision_agrees(steepness: float) -> None:
    output, batch = logits(3, 4.0), maps(3, 0.1, 0.9, 0.3)
    exact = DetectorOutput(*(one.double() for one in output))
    target, mask, thresh_mask = (batch[name].double() for name in ("prob_maps", "prob_masks", "thresh_masks"))
    prob, thresh = (one.sigmoid() for one in exact)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(exact.prob_logits, target, reduction="none")
    positives = int((target * mask).sum())
    hard = bce[(mask > target)].sort(descending=True).values[: 3 * positives]
    step = torch.sigmoid(steepness * (prob - thresh)) * mask
    terms = loss_terms(output, batch, 3.0, steepness)
    total = (step.sum() + positives).item()
    assert terms.probability == pytest.approx(
        ((bce * target * mask).sum() + hard.sum()).item() / (4 * positives), rel=1e-6
    )
    assert terms.binary == pytest.approx(1 - 2 * (step * target).sum().item() / total, rel=1e-5)
    difference = ((thresh - batch["thresh_maps"]).abs() * thresh_mask).sum() / thresh_mask.sum()
    assert terms.threshold == pytest.approx(difference.item(), rel=1e-6)


@pytest.mark.parametrize("gradient", [True, False])
def test_sums_over_a_large_batch_of_equal_losses_are_exact(gradient: bool) -> None:
    zeros = torch.zeros(4, 1, 512, 512)
    leaves = DetectorOutput(zeros.clone().requires_grad_(gradient), zeros)
    flags = dict.fromkeys(
        ("prob_maps", "prob_masks", "thresh_masks"), torch.ones_like(zeros, dtype=torch.uint8)
    )
    terms = detector_loss(leaves, {**flags, "thresh_maps": zeros + 0.3}, LossParams())
    exact = torch.tensor([np.log(2), 1 - 2 * 0.5 / 1.5, 0.2], dtype=torch.float32)
    torch.testing.assert_close(torch.stack(terms[1:]).detach(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("share", [0.05, 0.95])
def test_negatives_on_the_border_are_as_hard_at_minus_zero(share: float) -> None:
    zeros = torch.where(torch.rand(SIDES, generator=torch.Generator().manual_seed(0)) < share, 0.0, -0.0)
    output, batch = DetectorOutput(zeros, zeros), maps(4, 0.1, 1.0, 0.5)
    assert loss_terms(output, batch, 3.0, 50.0).probability == pytest.approx(np.log(2), rel=1e-6)


@pytest.mark.parametrize("which", [0, 1])
def test_nan_is_not_hidden(which: int) -> None:
    output, batch = logits(1, 4.0), maps(1, 0.1, 1.0, 1.0)
    output[which][1, 0, 5, 5] = float("nan")
    assert detector_loss(output, batch, LossParams()).total.isnan()
    output[which][:] = float("nan")
    assert detector_loss(output, batch, LossParams()).total.isnan()


def test_layout_and_dtype_of_a_batch_do_not_matter() -> None:
    output, batch = logits(2, 4.0), maps(2, 0.1, 0.9, 0.3)
    expected = detector_loss(output, batch, LossParams())
    columns = DetectorOutput(*(one.mT.contiguous().mT for one in output))
    flags = {name: batch[name].bool() for name in ("prob_maps", "prob_masks", "thresh_masks")}
    assert detector_loss(columns, {**batch, **flags}, LossParams()) == expected
    floating = {name: flag.float() for name, flag in flags.items()}
    for actual, wanted in zip(
        detector_loss(output, {**batch, **floating}, LossParams()), expected, strict=True
    ):
        torch.testing.assert_close(actual, wanted, rtol=5e-6, atol=5e-6)


def test_gradients_are_had_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    output, batch = logits(2, 4.0), maps(2, 0.1, 0.9, 0.3)

    def refuse(*arguments: Any) -> None:
        raise AssertionError("values alone would leave training without gradients")

    monkeypatch.setattr(ocr.losses, "loss_terms", refuse)
    for which in range(2):
        leaves = [one.clone().requires_grad_(index == which) for index, one in enumerate(output)]
        torch.autograd.backward(detector_loss(DetectorOutput(*leaves), batch, LossParams()).total)
        gradient = leaves[which].grad
        assert gradient is not None and gradient.abs().sum() > 0
    with torch.no_grad(), pytest.raises(AssertionError, match="values alone"):
        detector_loss(DetectorOutput(*leaves), batch, LossParams())


def test_one_negative_counts_at_least() -> None:
    assert [kept_negatives(*counts) for counts in ((1, 9, 0.5), (3, 9, 2.5), (3, 5, 2.5), (0, 9, 3.0))] == [
        1,
        7,
        5,
        9,
    ]


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_torchs_default_dtype_changes_nothing(default: torch.dtype, request: pytest.FixtureRequest) -> None:
    output, batch = logits(seed=0, spread=2), maps(seed=0, text=0.3, seen=0.9, thresh=0.3)
    expected = loss_terms(output, batch, 3, 50)
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(default)
    assert loss_terms(output, batch, 3, 50) == expected


def test_a_batch_of_no_samples_has_a_loss() -> None:
    output = DetectorOutput(*(one[:0] for one in logits(seed=0, spread=2)))
    batch = {name: values[:0] for name, values in maps(seed=0, text=0.3, seen=0.9, thresh=0.3).items()}
    assert loss_terms(output, batch, 3, 50) == (0, 1, 0)
