"""Batches on a CUDA device, copied one ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import torch

from ocr.datasets.batches.batch import ARRAYS, Batch

Prepare = Callable[[torch.Tensor], torch.Tensor]


def prepared(batch: Batch, prepare: Prepare | None) -> Batch:
    """Give a batch with its images normalised."""
    return Batch(batch, images=prepare(batch["images"])) if prepare and "images" in batch else batch


def ahead_on_device(
    batches: Iterable[Batch], device: torch.device, prepare: Prepare | None = None
) -> Iterator[Batch]:
    """Copy images and maps to a CUDA device on a stream of their own, while the last batch is used.

    Geometry and polygons stay on the host. Copies overlap with computing where the host's memory is
    page-locked (`TensorDataset(pin=True)`, or a registered RAM cache), and are correct anywhere.
    """
    stream = copying_stream(device)
    waiting: deque[tuple[Batch, Batch, torch.cuda.Event]] = deque()
    for batch in batches:
        waiting.append((batch, *_copy(batch, device, stream, prepare)))
        if len(waiting) == 2:
            yield _arrived(*waiting.popleft(), device)
    while waiting:
        yield _arrived(*waiting.popleft(), device)


@cache
def copying_stream(device: torch.device) -> torch.cuda.Stream:
    """Give the stream that copies to a device: one for the process.

    Torch keeps the memory that a stream has used for that stream, so a new one each epoch would take it anew.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _copy(
    batch: Batch, device: torch.device, stream: torch.cuda.Stream, prepare: Prepare | None
) -> tuple[Batch, torch.cuda.Event]:
    arrays = [name for name in ARRAYS.values() if name in batch]
    with torch.cuda.stream(stream):
        arrived = {name: batch[name].to(device, non_blocking=True) for name in arrays}
        moved = prepared(Batch(batch, **arrived), prepare)
        return moved, stream.record_event()


def _arrived(source: Batch, moved: Batch, copied: torch.cuda.Event, device: torch.device) -> Batch:
    """Make the current stream wait for the copy; only then may the host's buffers be reused."""
    current = torch.cuda.current_stream(device)
    current.wait_event(copied)
    for value in moved.values():
        if isinstance(value, torch.Tensor) and value.is_cuda:
            value.record_stream(current)
    copied.synchronize()
    del source
    return moved
