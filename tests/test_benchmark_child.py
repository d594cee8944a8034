"""A benchmark that hangs, or is told to stop, leaves no process behind."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

_HANGS = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""
_WAITS = f"""
import signal, sys
from benchmarks import child
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores behind an &
child.TO_STOP = 0.5
code = child.ended(child.started([sys.executable, "-c", {_HANGS!r}]), SECONDS)
print(code)
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT, None])
def test_all_that_it_started_ends_with_it(told: signal.Signals | None) -> None:
    code = _WAITS.replace("SECONDS", "None" if told else "3")
    waiting = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert waiting.stdout
    grandchild = psutil.Process(int(waiting.stdout.readline()))
    if told:
        waiting.send_signal(told)
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == ((-signal.SIGINT, b"") if told else (0, b"None\n"))
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
