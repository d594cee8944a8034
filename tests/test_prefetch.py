"""Work ahead of its use: in order, whole, with its errors, and over when nobody wants more."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

import pytest

from ocr.datasets.prefetch import finished_ahead, one_ahead


def test_one_ahead_keeps_order_and_passes_errors_on() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item * 10

    seen = []
    with pytest.raises(ValueError, match="three"):
        for result in one_ahead(work, range(9)):
            seen.append(result)  # noqa: PERF402 - what came before the error is wanted
    assert seen == [0, 10, 20]


def test_one_ahead_ends_its_thread_with_the_iteration() -> None:
    before = threading.active_count()
    results = one_ahead(lambda item: item, range(100))
    next(results)
    assert threading.active_count() == before + 1
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2, 3, 100])
def test_what_is_finished_ahead_is_whole_and_in_order(threads: int) -> None:
    begun = []

    def begin(item: int) -> tuple[int, Callable[[], None]]:
        begun.append(item)
        left, done = deque(range(50)), set()
        finished[item] = done

        def work() -> None:
            with contextlib.suppress(IndexError):
                while True:
                    done.add(left.popleft())

        return item, work

    finished: dict[int, set[int]] = {}
    for item in finished_ahead(map(begin, range(7)), threads):
        assert finished[item] == set(range(50))
        assert begun == list(range(min(item + 2, 7)))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_error_in_the_background_appears_in_its_place(threads: int) -> None:
    def fail() -> None:
        raise ValueError("three")

    seen = []
    with pytest.raises(ValueError, match="three"):
        for item in finished_ahead(((i, fail if i == 3 else int) for i in range(9)), threads):
            seen.append(item)  # noqa: PERF402 - what came before the error is wanted
    assert seen == [0, 1, 2]
