"""The collector of cycles: what is made while it pauses is not looked through at once, and not forgotten."""

from __future__ import annotations

import gc
import weakref

from pipeline.collector import collector_paused


class Cycle:
    """What only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_made_meanwhile_counts_as_old() -> None:
    with collector_paused():
        made = [[number] for number in range(100_000)]
        assert not gc.isenabled() and gc.get_count()[0] >= len(made)
    assert gc.isenabled() and gc.get_count()[0] < gc.get_threshold()[0]


def test_a_cycle_that_was_made_meanwhile_is_found_later() -> None:
    with collector_paused():
        gone = weakref.ref(Cycle())
    assert gone() is not None
    gc.collect()
    assert gone() is None


def test_a_pause_within_a_pause_ends_with_the_outer_one() -> None:
    with collector_paused():
        with collector_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_the_caller_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with collector_paused():
            pass
        assert gc.get_freeze_count() == frozen > 0
    finally:
        gc.unfreeze()
