"""From images as they are stored to what a network reads, on the device that they are on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ocr.training.parts import Triple


class Pixels(nn.Module):
    """Brings images (B, 3, H, W), RGB, to what a network reads: normalised ones, or pixels in 0…1.

    uint8 images are pixels in 0…255; floating ones are normalised already, with `mean` and `std` of pixel
    values in 0…1. Both move with the module, and are no part of its state.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Triple, std: Triple, reads_pixels: bool) -> None:
        super().__init__()
        self.reads_pixels = reads_pixels
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Bring images as they are stored to what the network reads; what is in that form already passes."""
        if images.is_floating_point() and not self.reads_pixels:
            return images
        pixels = self.unit(images)
        return pixels if self.reads_pixels else self.normalise(pixels)

    def unit(self, images: Tensor) -> Tensor:
        """Pixels in 0…1, float32; stored normalised pixels are brought back."""
        if images.is_floating_point():
            return (images.float() * self.std + self.mean).clamp_(0, 1)
        return images.float().div_(255)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise pixels in 0…1."""
        return (pixels - self.mean) / self.std
