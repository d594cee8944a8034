"""Ending gently: the first Ctrl-C or SIGTERM lets what is under way finish, the second ends at once."""

from __future__ import annotations

import logging
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pipeline.errors import Interrupted

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def finishing_what_is_under_way(tasks: deque[Any]) -> Iterator[None]:
    """While the block runs, a first Ctrl-C or SIGTERM takes all tasks that have not begun.

    Raises Interrupted after the block then. Only the main thread can be interrupted; elsewhere the block
    just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        tasks.clear()
        restore()
        log.warning("interrupted: what is under way is finished first; once more ends it at once")

    for number in _SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
    if received:
        raise Interrupted(received[0])
