"""CPU time of this process and of all that it has started: what counts where other work is going on."""

from __future__ import annotations

import os

import psutil


def cpu_seconds() -> float:
    """Seconds of CPU so far, of the processes that are gone as well."""
    spent = sum(os.times()[:4])
    for child in psutil.Process().children(recursive=True):
        try:
            spent += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return spent
