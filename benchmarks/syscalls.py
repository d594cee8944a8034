"""System calls of a sample by stage, counted by strace."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import note
from benchmarks.record import Row
from pipeline.execution import ExecutorConfig
from pipeline.planning import Pipeline
from pipeline.runner import run_stages

_LEAST = 0.5  # calls a sample, below which a call is among the others
_LINE = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(?P<calls>\d+) +(?:\d+ +)?(?P<name>\w+)$", re.M)


def counted(pipeline: Pipeline) -> list[Row]:
    """Run all stages one sample after another; gives calls a sample, of the run with all around it.

    Gives nothing, and a note, where strace is missing or may not look.
    """
    rows: list[Row] = []
    for stage in pipeline.stages:
        stage.prepare()
    for stage in pipeline.stages:
        with TemporaryDirectory() as folder:
            told = Path(folder, "calls")
            if not (strace := _attached(told)):
                note("system calls are not counted here: strace is missing, or must not attach")
                return []
            ((_, result),) = run_stages(pipeline, [stage.name], ExecutorConfig(kind="serial"))
            strace.send_signal(signal.SIGINT)
            strace.wait()
            found = {m["name"]: int(m["calls"]) / result.computed for m in _LINE.finditer(told.read_text())}
        del found["total"]
        often = {name: calls for name, calls in found.items() if calls >= _LEAST}
        often["all others"] = sum(found.values()) - sum(often.values())
        rows += [Row(name=name, unit=stage.name, values=(calls,)) for name, calls in often.items()]
    return rows


def _attached(told: Path) -> subprocess.Popen[bytes] | None:
    """Have strace count the calls of this process from now on."""
    if not shutil.which("strace"):
        return None
    command = ["strace", "-c", "-f", "-S", "calls", "-o", told, "-p", str(os.getpid())]
    strace = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not _traced():
        if strace.poll() is not None:
            return None
        time.sleep(0.01)
    return strace


def _traced() -> bool:
    found = re.search(r"^TracerPid:\s+(\d+)", Path("/proc/self/status").read_text(), re.M)
    return found is not None and found[1] != "0"
