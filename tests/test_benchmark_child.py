"""A benchmark that hangs, or is told to stop, leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


_HANGS_IN_A_FILE = """#!/bin/sh
trap "" INT
sleep 600 &
echo $! > "$2.pid"
wait
"""
_TWO_AT_A_TIME = """
import signal, sys
from pathlib import Path
from benchmarks import child
from benchmarks.__main__ import Benchmark, run_all
signal.signal(signal.SIGINT, signal.default_int_handler)
child.TO_STOP = 0.5
stub = Path("stub").absolute()
run_all([Benchmark(name, python=stub) for name in "abc"], Path("results"), None, quick=True)
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_two_at_a_time_end_with_what_runs_them(told: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "stub").write_text(_HANGS_IN_A_FILE)
    (tmp_path / "stub").chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    runs = subprocess.Popen(
        [sys.executable, "-c", _TWO_AT_A_TIME], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    )
    files = [tmp_path / f"benchmarks.{name}.pid" for name in "ab"]
    while not all(file.exists() and file.read_text() for file in files):
        assert runs.poll() is None
        time.sleep(0.05)
    grandchildren = [psutil.Process(int(file.read_text())) for file in files]
    runs.send_signal(told)
    runs.communicate(timeout=60)
    assert runs.returncode == -signal.SIGINT and not (tmp_path / "benchmarks.c.pid").exists()
    for one in grandchildren:
        assert not one.is_running() or one.status() == psutil.STATUS_ZOMBIE


def test_each_of_two_prints_in_one_piece(tmp_path: Path) -> None:
    (tmp_path / "stub").write_text(
        "#!/bin/sh\nfor part in 1 2 3; do echo $2 $part; sleep 0.1; done; echo bad >&2"
    )
    (tmp_path / "stub").chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", _TWO_AT_A_TIME],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    for name in ("a", "b", "c"):
        piece = "".join(f"benchmarks.{name} {part}\n" for part in (1, 2, 3)) + "bad\n"
        assert f"== {name}\n{piece}== {name}: " in done.stdout.decode()
