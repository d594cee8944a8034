"""The precision that a forward pass is computed in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ocr.params import Precision

_COMPUTED_IN: dict[Precision, torch.dtype] = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def default_precision(device_type: str) -> Precision:
    """The precision that training and validation compute in where none is asked for; `cpu` or `cuda`."""
    if device_type != "cpu":
        return "16-mixed"
    return "bf16-mixed" if computes_bf16() else "32-true"


def computes_bf16() -> bool:
    """Whether this processor has AVX512_BF16, as every one with AMX has: torch trains with either.

    On other x86 processors bf16 is emulated, and a training step takes 1.7 to 6 times as long as in
    float32; of ARM's bf16, oneDNN has no fast backward passes.
    """
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text()


def computing_in(precision: Precision | None, device_type: str) -> AbstractContextManager[Any]:
    """Compute in a precision, whatever the autocast around it; None leaves that as it is.

    The model's last layers, its losses and box decoding are float32 in all of them.
    """
    if precision is None:
        return nullcontext()
    # Without the cache: it would hand out weights that an autocast around this one has cast to its own type.
    return torch.autocast(
        device_type,
        dtype=_COMPUTED_IN.get(precision, torch.bfloat16),
        enabled=precision in _COMPUTED_IN,
        cache_enabled=False,
    )
