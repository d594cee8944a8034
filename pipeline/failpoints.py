"""Scripted faults for the tests: `WARMSTORE_FAILPOINT="chunk.rename:3:kill"` strikes at the third visit.

Off unless the variable is set when the process starts; then `reach` costs one comparison.
"""

from __future__ import annotations

import errno
import os
import signal
import threading

POINTS = (
    "chunk.write",
    "chunk.rename",
    "record.write",
    "record.rename",
    "assemble.link",
    "manifest.write",
    "manifest.rename",
    "fsync",
    "publish.rename",
    "gc.unlink",
)
FAULTS = ("kill", "enospc", "eio", "short")

# The process's own: a fault strikes once, in whichever thread passes the place.
_script = os.environ.get("WARMSTORE_FAILPOINT", "")
_visits = 0
_lock = threading.Lock()


def reach(point: str) -> str | None:
    """Pass a place where a fault may be scripted; gives `"short"` where a write is to be cut short."""
    if not _script:
        return None
    return _strike(point)


def arm(script: str) -> None:
    """Script a fault in this process: `point:visit:fault`; an empty script disarms."""
    global _script, _visits
    _script, _visits = script, 0


def visits() -> int:
    """Count how often the scripted place has been passed since it was armed."""
    return _visits


def _strike(point: str) -> str | None:
    global _visits
    wanted, visit, fault = _script.split(":")
    if wanted != point:
        return None
    with _lock:
        _visits += 1
        if _visits != int(visit):
            return None
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), point)
    if fault == "eio":
        raise OSError(errno.EIO, os.strerror(errno.EIO), point)
    return fault
