"""A worker's memory serves one sample after another, and its pages are there already."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PAGES = 40 * 256  # of a large image
_SAMPLES = f"""
import resource
from pipeline.execution.worker_memory import keep_freed_memory
{{first}}
bytearray({_PAGES} * 4096)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    bytearray({_PAGES} * 4096)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have settings of their own")
@pytest.mark.parametrize(("first", "fresh"), [("keep_freed_memory()", False), ("", True)])
def test_pages_of_a_sample_before_serve_the_next(first: str, fresh: bool) -> None:
    script = _SAMPLES.format(first=first)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 2 * _PAGES) == fresh
