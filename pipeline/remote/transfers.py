"""Work on many files at once, bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

_AT_ONCE = 8


def each(work: Callable[[str], str], names: Iterable[str], advance: Callable[[int], None]) -> Counter[str]:
    """Do the work for every name, eight at once, and count what it gives.

    `advance` is called with names done since. The first error ends it, once what runs has ended.
    """
    outcomes: Counter[str] = Counter()
    running: set[Future[str]] = set()

    def settle(done: set[Future[str]]) -> None:
        outcomes.update(future.result() for future in done)
        advance(len(done))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for name in names:
                running.add(pool.submit(work, name))
                if len(running) == 2 * _AT_ONCE:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    settle(done)
            settle(running)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes
