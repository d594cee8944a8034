"""The feature pyramid: four maps of a backbone to one at a quarter of the image's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Maps at strides 4, 8, 16, 32 to one map (B, width, H/4, W/4) (Lin et al., 2017, as in DBNet).

    Every level is brought to `width` channels, added to the coarser one, reduced to `width / 4`
    channels, and the four are stacked; with `adaptive_scale_fusion` the stack is weighted per
    pixel and level first.
    """

    def __init__(self, channels: Sequence[int], width: int, *, adaptive_scale_fusion: bool = False) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channel, width, 1, bias=False) for channel in channels)
        self.reduce = nn.ModuleList(
            nn.Conv2d(width, width // len(channels), 3, padding=1, bias=False) for _ in channels
        )
        self.fusion = AdaptiveScaleFusion(width, len(channels)) if adaptive_scale_fusion else nn.Identity()

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of all strides, the finest first, to one map of the finest: (B, width, H/4, W/4)."""
        levels = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        for fine in range(len(levels) - 2, -1, -1):
            levels[fine] = levels[fine] + F.interpolate(levels[fine + 1], scale_factor=2.0)
        stack = [
            F.interpolate(reduce(level), scale_factor=float(2**index)) if index else reduce(level)
            for index, (reduce, level) in enumerate(zip(self.reduce, levels, strict=True))
        ]
        fused: Tensor = self.fusion(torch.cat(stack, dim=1))
        return fused


class AdaptiveScaleFusion(nn.Module):
    """Weight each pyramid level at each pixel by learned attention (Liao et al., DBNet++, 2022, section 3.3).

    (B, width, H, W), `levels` equal groups of channels, to the same shape.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.group = inner = width // levels
        self.mix = nn.Conv2d(width, inner, 3, padding=1)
        self.spatial = nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(1, 1, 1, bias=False), nn.Sigmoid()
        )
        self.weigh = nn.Sequential(nn.Conv2d(inner, levels, 1, bias=False), nn.Sigmoid())

    def forward(self, stack: Tensor) -> Tensor:
        """Give the stack with each of its groups weighted."""
        mixed = self.mix(stack)
        mixed = mixed + self.spatial(mixed.mean(dim=1, keepdim=True))
        weights: Tensor = self.weigh(mixed)
        return stack * weights.repeat_interleave(self.group, dim=1)
