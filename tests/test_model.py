"""The detector's network: shapes, strides, precision of its output."""

from __future__ import annotations

import pytest
import torch

from ocr.model import AdaptiveScaleFusion, Backbone, DBNet, FeaturePyramid
from ocr.params import BackboneName, DBNetParams, LossParams
from ocr.training import detector_loss

TINY = DBNetParams(backbone="tiny", neck_channels=32)


def network(params: DBNetParams = TINY, seed: int = 0) -> DBNet:
    torch.manual_seed(seed)
    return DBNet(params)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("tiny", (32, 64, 96, 128)),
        ("resnet18", (64, 128, 256, 512)),
        pytest.param("resnet50", (256, 512, 1024, 2048), marks=pytest.mark.slow),
    ],
)
def test_backbones_give_four_strides(name: BackboneName, channels: tuple[int, ...]) -> None:
    backbone = Backbone(name)
    assert backbone.channels == channels
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 64, 96))
    shapes = [tuple(feature.shape) for feature in features]
    assert shapes == [(1, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)]


def test_resnet_18_has_the_parameters_of_the_paper() -> None:
    # 11,689,512 with the classifier of 1000 classes (He et al., 2016), whose 513,000 are not ours.
    assert sum(weight.numel() for weight in Backbone("resnet18").parameters()) == 11_689_512 - 513_000


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
def test_logits_are_float32_and_as_large_as_the_image(autocast: torch.dtype | None, fusion: bool) -> None:
    model = network(TINY.model_copy(update={"adaptive_scale_fusion": fusion})).eval()
    with torch.no_grad(), torch.autocast("cpu", autocast, enabled=autocast is not None):
        output = model(torch.rand(2, 3, 64, 96))
    for logits in output[:2]:
        assert logits.shape == (2, 1, 64, 96) and logits.dtype == torch.float32
        assert torch.isfinite(logits).all()


def test_the_memory_layout_does_not_change_the_result() -> None:
    model, images = network().eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        actual = model(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion", [False, True])
def test_the_loss_reaches_every_parameter(fusion: bool) -> None:
    model = network(TINY.model_copy(update={"adaptive_scale_fusion": fusion}))
    text = torch.zeros(2, 1, 64, 64)
    text[:, :, 16:40, 8:56] = 1
    batch = {
        "prob_maps": text,
        "prob_masks": text + 1 - text,
        "thresh_maps": 0.3 + 0.4 * text,
        "thresh_masks": text,
    }
    torch.autograd.backward(detector_loss(model(torch.rand(2, 3, 64, 64)), batch, LossParams()).total)
    silent = [
        name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    assert silent == []
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize(("height", "width"), [(65, 64), (64, 48)])
def test_a_size_that_does_not_fit_the_strides_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"{height} × {width} pixels: both sides must be multiples of 32"):
        network()(torch.zeros(1, 3, height, width))


def test_the_pyramid_brings_the_coarsest_level_to_every_output() -> None:
    torch.manual_seed(0)
    pyramid = FeaturePyramid((8, 8, 8, 8), 16).eval()
    features = [torch.zeros(1, 8, 32 // stride, 32 // stride) for stride in (1, 2, 4, 8)]
    with torch.no_grad():
        assert not pyramid(features).any()
        features[3][..., 0, 0] = 1
        fused = pyramid(features)
    assert fused.shape == (1, 16, 32, 32)
    assert all(group.any() for group in fused.chunk(4, dim=1))
    assert not fused[..., 20:, 20:].any()


def test_adaptive_scale_fusion_weighs_levels_between_0_and_1() -> None:
    torch.manual_seed(0)
    fusion = AdaptiveScaleFusion(16, 4)
    stack = torch.rand(2, 16, 8, 8) + 0.1
    with torch.no_grad():
        weights = fusion(stack) / stack
        assert (weights > 0).all() and (weights < 1).all()
        per_level = weights.reshape(2, 4, 4, 8, 8)
        torch.testing.assert_close(per_level, per_level[:, :, :1].expand_as(per_level))
        assert not torch.allclose(per_level[:, 0], per_level[:, 1])
