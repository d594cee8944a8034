"""The RAM cache as page-locked memory: batches go to a CUDA device straight from it.

Not run on a GPU yet (docs/howto/gpu.md); without CUDA nothing here does anything.
"""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterable

import torch

from pipeline.memory import AddressRange

log = logging.getLogger(__name__)

_PORTABLE = 1


def register_with_cuda(ranges: Iterable[tuple[AddressRange, int, int]]) -> bool:
    """Register ranges (offset and length in a region) with CUDA, as long as the regions live.

    Only memory that is mapped shared may be registered: of a private map each page would be copied
    first. Where CUDA refuses one range, a log line says so, none is registered, and batches are copied by
    way of pageable memory.
    """
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    registered: list[Callable[[], object]] = []
    for region, offset, length in ranges:
        error = int(runtime.cudaHostRegister(region.address + offset, length, _PORTABLE))
        if error:
            _take_back_the_error()
            for take_back in registered:
                take_back()
            log.warning(
                "CUDA does not register the RAM cache (error %d): batches are staged in pageable memory; "
                "raise `ulimit -l`, or lower cache.budget",
                error,
            )
            return False
        # Finalizers run newest first: this one before the region's own, which unmaps it.
        unregister = weakref.finalize(region, runtime.cudaHostUnregister, region.address + offset)
        unregister.atexit = False
        registered.append(unregister)
    return True


def _take_back_the_error() -> None:
    """Let an idle kernel meet the error that CUDA keeps of a refusal; the next one launched raises it."""
    with contextlib.suppress(RuntimeError):
        torch.zeros(1, device="cuda")
