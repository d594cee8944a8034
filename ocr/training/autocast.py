"""The precision that a forward pass is computed in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from ocr.params import Precision

_COMPUTED_IN: dict[Precision, torch.dtype] = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


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
