"""A process that ends with all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

TO_STOP = 8
"""Seconds to end by itself once it is told to: a training writes down where it is."""


def started(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    out: IO[str] | None = None,
    errors: IO[str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; a SIGTERM to this process is like Ctrl-C from now on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return subprocess.Popen(command, stdout=out, stderr=errors, env=environment, start_new_session=True)


def ended(process: subprocess.Popen[bytes], seconds: float | None = None) -> int | None:
    """Wait for the exit code; None where the time was over.

    Afterwards nothing that it has started runs any more, not even where this process is told to stop.
    """
    try:
        return process.wait(seconds)
    except BaseException as error:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(TO_STOP)
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
