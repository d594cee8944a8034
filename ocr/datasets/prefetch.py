"""Work done one step ahead, on threads of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[], object]

# So many copy as fast as the memory can; each more costs a hand-over a batch.
_MOST_THREADS = 8


def one_ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Give `work(item)` for each item in order, the next being worked on while one is used.

    Errors appear where their result would have. The thread ends with the iteration.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) == 2:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def finished_ahead(begun: Iterable[tuple[Result, Work]], threads: int) -> Iterator[Result]:
    """Give results whose work is done, the next being worked on while one is used.

    Up to `threads` call a result's `work` side by side and share it. One of them is whoever waits for the
    result, unless there is only one, which works in the background. An error of `work` appears where the
    result would have, one of `begun` at once. The threads end with the iteration.
    """
    helpers = max(1, min(threads, _MOST_THREADS) - 1)

    def finish(result: Result, work: Work, helping: list[Future[object]]) -> Result:
        if threads > 1:
            work()
        for future in helping:
            future.result()
        return result

    with ThreadPoolExecutor(helpers, thread_name_prefix="batches") as pool:
        pending: deque[tuple[Result, Work, list[Future[object]]]] = deque()
        try:
            for result, work in begun:
                pending.append((result, work, [pool.submit(work) for _ in range(helpers)]))
                if len(pending) == 2:
                    yield finish(*pending.popleft())
            while pending:
                yield finish(*pending.popleft())
        finally:
            for _, _, helping in pending:
                for future in helping:
                    future.cancel()
