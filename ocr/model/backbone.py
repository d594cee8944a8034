"""Residual networks as feature extractors (transformers' `ResNetBackbone`, so torchvision is not needed)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn
from transformers import ResNetBackbone, ResNetConfig

from ocr.model.pretrained import load_pretrained
from ocr.params import BackboneName

_STAGES = ("stage1", "stage2", "stage3", "stage4")

_ARCHITECTURES: dict[str, dict[str, Any]] = {
    # One basic block a stage and at most 128 channels: a network that two CPU cores can train in minutes.
    "tiny": {
        "layer_type": "basic",
        "embedding_size": 32,
        "hidden_sizes": [32, 64, 96, 128],
        "depths": [1, 1, 1, 1],
    },
    "resnet18": {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
    "resnet50": {"layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3]},
}


class Backbone(nn.Module):
    """Images (B, 3, H, W) to four maps (B, C, H/s, W/s) at strides s = 4, 8, 16, 32.

    `pretrained` is a folder on disk or a name on the Hugging Face hub whose weights fit `name`;
    `None` starts from random weights. Raises `ConfigError` if the weights cannot be had or do not fit.
    """

    def __init__(self, name: BackboneName, pretrained: str | None = None) -> None:
        super().__init__()
        config = ResNetConfig(out_features=list(_STAGES), **_ARCHITECTURES[name])
        self.channels: tuple[int, ...] = tuple(config.hidden_sizes)
        self.network = (
            load_pretrained(name, pretrained, config, _ARCHITECTURES)
            if pretrained
            else ResNetBackbone(config)
        )

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """Normalised images (B, 3, H, W) to features of strides 4, 8, 16 and 32, each (B, C, h, w)."""
        return cast(Sequence[Tensor], self.network(images).feature_maps)
