"""Whether this process is still the one that made something: asked for every batch, so not of the kernel."""

from __future__ import annotations

import os


class _Forks:
    """Counts forks along the line of processes that leads to this one."""

    def __init__(self) -> None:
        self.count = 0
        os.register_at_fork(after_in_child=self._add)

    def _add(self) -> None:
        self.count += 1


FORKS = _Forks()
