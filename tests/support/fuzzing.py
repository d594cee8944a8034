"""Trying mutated files on this process, whose memory is capped, and which a case that hangs ends."""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

PATIENCE = 20
"""Seconds that one case may take."""


def fuzz(
    description: str | None,
    memory: int,
    case: Callable[[int, int], bytes],
    attempt: Callable[[bytes, int], str],
) -> int:
    """Run the cases that the command line asks for, and count how they end.

    `case` gives the file of a number and a seed, and `attempt` says in a word what became of it. `memory` is
    in bytes of address space, beyond what the process has by now.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    _cap_memory(memory)
    for number in range(options.first, options.first + options.cases):
        data = case(number, options.seed)
        faulthandler.dump_traceback_later(PATIENCE, exit=True, file=sys.stderr)
        try:
            outcomes[attempt(data, number)] += 1
        except BaseException:
            Path("fuzz_case.bin").write_bytes(data)
            sys.stderr.write(f"case {number} of seed {options.seed} failed; it is in fuzz_case.bin\n")
            raise
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.write(f"{options.cases} cases: {dict(outcomes.most_common())}\n")
    return 0


def _cap_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
