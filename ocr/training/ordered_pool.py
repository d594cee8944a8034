"""Work on samples beside the device: calls in threads, whose results come in the order of the calls.

overlap = OrderedPool[Evaluation](OverlapParams(workers=2))
for batch in batches:                           # the device computes the next batch meanwhile
    for sample in batch:
        overlap.submit(sample.sample_id, evaluate, sample.prob_map, …)
    for result in overlap.finished():           # what is done by now, without waiting
        …
for result in overlap.drain():                  # the rest
    …
overlap.close()
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from ocr.params import OverlapParams
from pipeline.errors import PipelineError

R = TypeVar("R")


class OrderedPool(Generic[R]):
    """Runs one call after another and gives their results in that same order.

    The first that fails, in that order, ends it all: `submit`, `finished` or `drain` raises
    PipelineError with the names of the detector and of its sample, from the error itself.
    """

    def __init__(self, params: OverlapParams, detector: str = "") -> None:
        self._detector = detector
        self._most_pending = params.most_pending
        self._executor = ThreadPoolExecutor(params.workers, "overlap") if params.workers else _Inline()
        self._pending: deque[tuple[str, Future[R]]] = deque()
        self._results: deque[R] = deque()

    def submit(self, sample_id: str, work: Callable[..., R], *arguments: Any) -> None:
        """Hand over one call; waits while `most_pending` are under way."""
        while len(self._pending) >= self._most_pending:
            self._results.append(self._wait())
        self._pending.append((sample_id, self._executor.submit(work, *arguments)))

    def finished(self) -> Iterator[R]:
        """Give the results at hand, in order: up to the first call that is not done. Never waits."""
        while self._results or (self._pending and self._pending[0][1].done()):
            yield self._next()

    def drain(self) -> Iterator[R]:
        """Wait for all calls and give the results that `finished` has not given yet, in order."""
        while self._results or self._pending:
            yield self._next()

    def close(self) -> None:
        """Drop what has not begun, and end the threads."""
        self._pending.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _next(self) -> R:
        return self._results.popleft() if self._results else self._wait()

    def _wait(self) -> R:
        sample_id, future = self._pending.popleft()
        try:
            return future.result()
        except Exception as error:
            self.close()
            raise PipelineError(
                f"loss, box decoding or metric of detector {self._detector} failed on sample {sample_id}: "
                f"{error or repr(error)} "
                "(model.overlap.workers=0 runs them in the caller, for debugging)"
            ) from error


class _Inline(Executor):
    """Runs a call at once, in the caller."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
