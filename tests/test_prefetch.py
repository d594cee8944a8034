"""Work ahead of its use: in order, whole, with its errors, and over when nobody wants more."""

from __future__ import annotations

import threading

import pytest

from ocr.datasets.batches import one_ahead


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
