"""Work on samples beside the device: box decoding and metrics run in a pool, in order as without one.

overlap = Overlap(partial(evaluate, decoder, metrics), OverlapParams(workers=2))
with overlap:
    for batch in batches:                       # the device computes the next batch meanwhile
        for sample in batch:
            overlap.submit(sample.sample_id, sample.prob_map, …)
        for result in overlap.finished():       # what is done by now, without waiting
            …
    for result in overlap.drain():              # the rest
        …
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ocr.metrics.image_metric import Counts, ImageMetric, Regions
from ocr.params import OverlapParams as OverlapParams
from ocr.postprocess import BoxDecoder, Detections
from pipeline.errors import PipelineError

R = TypeVar("R")


class Overlap(Generic[R]):
    """Runs `work(*arguments)` for one sample after another and gives the results in that same order.

    The first sample that fails, in that order, ends it all: `submit`, `finished` or `drain` raises
    PipelineError with the sample's name, from the error itself.
    """

    def __init__(self, work: Callable[..., R], params: OverlapParams | None = None) -> None:
        self._work = work
        self._params = params or OverlapParams()
        self._executor = _open_executor(self._params)
        self._pending: deque[tuple[str, Future[R]]] = deque()
        self._results: deque[R] = deque()

    def submit(self, sample_id: str, *arguments: Any) -> None:
        """Hand over one sample; waits while `most_pending` samples are under way."""
        self._take(self._params.most_pending - 1)
        try:
            self._pending.append((sample_id, self._executor.submit(self._work, *arguments)))
        except BrokenProcessPool:
            self._take(0)
            raise

    def finished(self) -> Iterator[R]:
        """Give the results at hand, in order: up to the first sample that is not done. Never waits."""
        while self._results or (self._pending and self._pending[0][1].done()):
            yield self._next()

    def drain(self) -> Iterator[R]:
        """Wait for all samples and give the results that `finished` has not given yet, in order."""
        while self._results or self._pending:
            yield self._next()

    def close(self) -> None:
        """Drop what has not begun, and end the workers."""
        self._pending.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _next(self) -> R:
        if not self._results:
            self._take(len(self._pending) - 1)
        return self._results.popleft()

    def _take(self, remaining: int) -> None:
        """Wait until no more than `remaining` samples are under way."""
        while len(self._pending) > remaining:
            sample_id, future = self._pending.popleft()
            try:
                self._results.append(future.result())
            except Exception as error:
                self.close()
                lost = "its worker process died" if isinstance(error, BrokenProcessPool) else str(error)
                raise PipelineError(
                    f"Loss, box decoding or metric failed on sample {sample_id}: {lost or repr(error)} "
                    "(0 workers run it in the caller, for debugging)"
                ) from error

    def __enter__(self) -> Overlap[R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Evaluation:
    """One sample's detections, what each metric counts for them, and the CPU seconds that both took."""

    detections: Detections
    counts: tuple[Counts, ...]
    boxes_s: float
    metric_s: float


def evaluate(
    decoder: BoxDecoder,
    metrics: Sequence[ImageMetric[Any]],
    prob_map: NDArray[np.float32],
    inverse_matrix: ArrayLike,
    size: ArrayLike,
    targets: Regions,
    texts: Sequence[str] | None = None,
    ignore: ArrayLike | None = None,
    *,
    activation: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> Evaluation:
    """Decode one map (H, W) and count for each metric, touching no state; then `metric.add(counts)`.

    `activation` makes a probability map of what is given as `prob_map`, where that is something else.
    """
    began = time.thread_time()
    if activation is not None:
        prob_map = activation(prob_map)
    detections = decoder.decode_one(prob_map, inverse_matrix, size)
    decoded = time.thread_time()
    counts = [m.measure(detections.polygons, targets, texts=texts, ignore=ignore) for m in metrics]
    return Evaluation(detections, tuple(counts), decoded - began, time.thread_time() - decoded)


class _Inline(Executor):
    """Runs a call at once, in the caller."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _open_executor(params: OverlapParams) -> Executor:
    if not params.workers:
        return _Inline()
    if params.kind == "threads":
        return ThreadPoolExecutor(params.workers, thread_name_prefix="overlap")
    # Not by fork: a process that uses a device, or runs threads, must not be forked. The server that
    # forks in its stead imports this module once, so that its workers need not.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(params.workers, mp_context=context)
