"""Two maps of one image: the kernels of its text regions, and the whole regions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ocr.model import Backbone, FeaturePyramid
from psenet.entry import PseParams
from warmstore import DetectorOutput


class PseNet(nn.Module):
    """Normalised images (B, 3, H, W), sides multiples of 32, to logits of kernels and of whole regions."""

    def __init__(self, params: PseParams) -> None:
        super().__init__()
        self.backbone = Backbone(params.backbone)
        self.neck = FeaturePyramid(self.backbone.channels, params.width)
        self.head = nn.Sequential(
            nn.Conv2d(params.width, params.width, 3, padding=1, bias=False),
            nn.BatchNorm2d(params.width),
            nn.ReLU(),
            nn.Conv2d(params.width, 2, 1),
        )

    def forward(self, images: Tensor) -> DetectorOutput:
        """Give kernels as the probability map, and whole regions as the map beside it."""
        logits = self.head(self.neck(self.backbone(images))).float()
        logits = F.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)
        return DetectorOutput(logits[:, :1], extra_logits=logits[:, 1:])
