"""uint8 pixels to normalised floating ones, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import torch

from ocr.datasets.buffers import BufferPool


class Normaliser:
    """Turns uint8 RGB (B, 3, H, W) into `(x / 255 - mean) / std`, of `dtype`, on the images' device.

    On the CPU each value is looked up in a table of 256, so results are exactly those of the formula
    in float32, rounded once to `dtype`; they lie in buffers that are reused once nobody holds them.
    Elsewhere one fused multiply and add, within a rounding error of the formula. Images that are
    floating already are normalised already, and pass.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32
    ) -> None:
        self.dtype = dtype
        means, stds = torch.tensor(mean).view(3, 1), torch.tensor(std).view(3, 1)
        table = (torch.arange(256).float().div(255) - means) / stds
        bits = {2: torch.uint16, 4: torch.float32}[dtype.itemsize]
        self._table = table.to(dtype).view(bits).numpy()
        self._bits = bits
        self._scale = (1 / (255 * stds)).view(3, 1, 1)
        self._shift = (-means / stds).view(3, 1, 1)
        self._pool = BufferPool()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise a batch."""
        if images.is_floating_point():
            return images
        if images.device.type != "cpu":
            return self.multiply_and_add(images)
        normalised = self._pool.take(tuple(images.shape), self.dtype)
        source, target = images.numpy(), normalised.view(self._bits).numpy()
        for i in range(len(source)):
            for channel in range(3):
                cv2.LUT(source[i, channel], self._table[channel : channel + 1], dst=target[i, channel])
        return normalised

    def multiply_and_add(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise in one kernel on the images' device, computing in float32."""
        scale, shift = self._scale.to(images.device), self._shift.to(images.device)
        return torch.addcmul(shift, images, scale).to(self.dtype)
