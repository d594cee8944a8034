"""Validation's loss on the host, in one pass over memory, against the same loss as training computes it.

    OMP_NUM_THREADS=1 python -m benchmarks.loss [--side 640] [--batch 4]

Random logits of a detector that is mostly right, 6 % text. Both sides in turns; of the rounds, the
fastest counts. Times are CPU milliseconds of this thread, a sample.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ocr.losses import LossParams, detector_loss
from ocr.model import DetectorOutput

ROUNDS = 15
TEXT = 0.06


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    output, batch = example((arguments.batch, 1, arguments.side, arguments.side))
    leaves = DetectorOutput(*(logits.clone().requires_grad_() for logits in output))
    sides: dict[str, Callable[[], Any]] = {
        "one pass": lambda: detector_loss(output, batch, LossParams()),
        "torch, without the backward pass": lambda: detector_loss(leaves, batch, LossParams()),
    }
    fastest = dict.fromkeys(sides, float("inf"))
    totals = {}
    for _ in range(ROUNDS):
        for name, call in sides.items():
            began = time.thread_time()
            totals[name] = call().total.item()
            fastest[name] = min(fastest[name], time.thread_time() - began)
    for name in sides:
        print(f"{name}: {1000 * fastest[name] / arguments.batch:.2f} ms, loss {totals[name]:.6f}")


def example(shape: tuple[int, ...]) -> tuple[DetectorOutput, dict[str, Tensor]]:
    """Logits and maps in their stored dtypes."""
    generator = torch.Generator().manual_seed(0)

    def uniform() -> Tensor:
        return torch.rand(shape, generator=generator)

    text = uniform() < TEXT
    noise = torch.randn(shape, generator=generator)
    output = DetectorOutput(3 * noise - 4 + 6 * text, torch.randn(shape, generator=generator))
    return output, {
        "prob_maps": text.to(torch.uint8),
        "prob_masks": (uniform() < 0.98).to(torch.uint8),
        "thresh_maps": uniform().half(),
        "thresh_masks": (uniform() < 0.3).to(torch.uint8),
    }


if __name__ == "__main__":
    main()
