"""DBNet: real-time text detection with differentiable binarization (Liao et al., AAAI 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ocr.detectors import DetectorOutput
from ocr.model.backbone import Backbone
from ocr.model.neck import FeaturePyramid
from ocr.params import DBNetParams

STRIDE = 32


class DBNet(nn.Module):
    """Normalised images, floating (B, 3, H, W) with H and W multiples of 32, to `DetectorOutput`."""

    def __init__(self, params: DBNetParams) -> None:
        super().__init__()
        width = params.neck_channels
        self.backbone = Backbone(params.backbone, params.pretrained)
        self.neck = FeaturePyramid(
            self.backbone.channels, width, adaptive_scale_fusion=params.adaptive_scale_fusion
        )
        self.prob_head = Head(width)
        self.thresh_head = Head(width)

    def forward(self, images: Tensor) -> DetectorOutput:
        """Normalised images (B, 3, H, W) to logits; ValueError where a side is no multiple of STRIDE."""
        if images.shape[-2] % STRIDE or images.shape[-1] % STRIDE:
            height, width = images.shape[-2:]
            raise ValueError(f"images of {height} × {width} pixels: both sides must be multiples of {STRIDE}")
        features = self.neck(self.backbone(images))
        return DetectorOutput(self.prob_head(features), self.thresh_head(features))


class Head(nn.Module):
    """Features (B, width, H/4, W/4) to logits, float32 (B, 1, H, W), whatever the autocast around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 4
        self.features = nn.Sequential(
            nn.Conv2d(width, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
        )
        self.logits = nn.ConvTranspose2d(inner, 1, 2, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """Give the logits; the last layer is float32."""
        features = self.features(features)
        # Half precision would round the logits, and float16 overflows at 65504: the last layer is float32.
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.logits(features.float())
        return logits
