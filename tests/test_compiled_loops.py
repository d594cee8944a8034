"""Loops that are compiled at the first call: set-up calls each of them, so that no first run waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shell import PROJECT

MODULES = [
    str(path.relative_to(PROJECT).with_suffix("")).replace("/", ".")
    for path in sorted(PROJECT.glob("ocr/**/*.py"))
    if "\n@compiled\n" in path.read_text()
]
LIST = """
import importlib, runpy, sys
runpy.run_path("scripts/compile_loops.py", run_name="__main__")
for name in sys.argv[1:]:
    values = vars(importlib.import_module(name)).values()
    loops = [value for value in values if value.__class__.__name__ == "CPUDispatcher"]
    called = {other for loop in loops for other in loop.py_func.__code__.co_names}  # and so compiled, too
    for loop in loops:
        if loop.__module__ == name and loop.__name__ not in called:
            print(f"{name}.{loop.__name__}", len(loop.signatures))
"""


def test_setting_up_compiles_every_loop_that_python_calls() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIST, *MODULES],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    signatures = dict(line.split() for line in done.stdout.splitlines())
    assert {name.rpartition(".")[0] for name in signatures} == set(MODULES)
    assert [name for name, count in signatures.items() if count == "0"] == []


RESIZE = """
import resource
import sys
import numpy as np
from ocr.images import resize
largest = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
print(resize(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), (2, 2)).tolist())
"""


def resized(kept: Path, largest: int = -1) -> subprocess.CompletedProcess[str]:
    """Resize in a process that keeps machine code in a folder, in files of at most so many bytes."""
    command = [sys.executable, "-c", RESIZE, str(largest)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(kept)}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 0.5])
def test_damaged_machine_code_is_compiled_again(tmp_path: Path, suffix: str, left: float) -> None:
    first = resized(tmp_path)
    assert "compiling" in first.stderr
    files = list(tmp_path.rglob(f"*.{suffix}"))
    assert files
    for path in files:
        os.truncate(path, int(left * path.stat().st_size))
    second, third = resized(tmp_path), resized(tmp_path)
    assert first.stdout == second.stdout == third.stdout
    assert f"machine code in {tmp_path}" in second.stderr
    assert third.stderr == ""


def test_machine_code_that_finds_no_room_is_compiled_in_each_process(tmp_path: Path) -> None:
    told = [resized(tmp_path, 4096), resized(tmp_path), resized(tmp_path)]
    assert len({done.stdout for done in told}) == 1
    assert f"machine code cannot be kept in {tmp_path}" in told[0].stderr
    assert "compiling" in told[1].stderr
    assert told[2].stderr == ""
