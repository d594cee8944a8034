"""Loops that are compiled at the first call: set-up calls each of them, so that no first run waits for it."""

from __future__ import annotations

import os
import subprocess
import sys

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
