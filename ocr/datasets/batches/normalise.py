"""uint8 pixels to normalised floating ones, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from ocr.datasets.batches.buffers import BufferPool
from ocr.jit import compiled


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
        self._on: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}
        self._pool = BufferPool()
        self(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))  # compiles now, not in the first epoch

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise a batch.

        Raises ValueError where it is not uint8 of three channels.
        """
        if images.is_floating_point():
            return images
        if images.device.type != "cpu":
            return self.multiply_and_add(images)
        # The loop below looks up whatever it is given, beyond the table's end as well.
        if images.dtype != torch.uint8 or images.shape[1:2] != (3,):
            raise ValueError(f"images are uint8 (B, 3, H, W), not {images.dtype} {tuple(images.shape)}")
        normalised = self._pool.take(tuple(images.shape), self.dtype)
        # Images with gaps between them go one by one: the loop is compiled for those without.
        at_once = max(1, len(images)) if images.is_contiguous() else 1
        for part, target in zip(torch.split(images, at_once), torch.split(normalised, at_once), strict=True):
            _look_up(part.numpy(), self._table, target.view(self._bits).numpy())
        return normalised

    def multiply_and_add(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise in one kernel on the images' device, computing in float32."""
        if images.device not in self._on:  # once: moving them waits for all that the stream has to do
            self._on[images.device] = self._scale.to(images.device), self._shift.to(images.device)
        scale, shift = self._on[images.device]
        return torch.addcmul(shift, images, scale).to(self.dtype)


@compiled
def _look_up(images: NDArray[Any], table: NDArray[Any], target: NDArray[Any]) -> None:
    """Write `table[channel, value]` for each value (B, C, H, W) of the images.

    One call for a batch: a call for each channel would give the lock away as often, and wait to have it
    back while a pool scores the batch before.
    """
    for i in range(images.shape[0]):
        for channel in range(images.shape[1]):
            values = table[channel]
            for y in range(images.shape[2]):
                source, row = images[i, channel, y], target[i, channel, y]
                for x in range(len(source)):
                    row[x] = values[source[x]]
