"""Lives with a work folder for a given time: `python -m tests.soak --minutes 60 [--seed 0]`.

Each round takes a new data set and work folder, and forty random steps: edits, runs on any executor,
single stages, kills, trainings, checks, repairs, collecting, readers that stay open. Then the stores must
equal those of a clean build, and nothing may be left: descriptors, mappings, processes, shared memory,
temporary files. One process does all of it, so its memory must stay flat.

A step is a line, and a round has a seed of its own: `--seed N --minutes 0` repeats round N alone. Only the
moment of a kill by the clock differs.
Exits with 1 at the first round that fails, and keeps its folder.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.util import Finalize
from pathlib import Path

from tests.support import leaks
from tests.support.edited_receipts import draw_pool
from tests.support.soak_round import Round

SETTLED = 4  # rounds after which everything has been imported and used once
GROWTH = 1.03  # of resident memory, from the first rounds after that to the last, that counts as flat


def main() -> int:
    """Do rounds until the time is over; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    end, done, history = time.monotonic() + 60 * asked.minutes, Counter[str](), list[leaks.Held]()
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    leaks.keep_temporary_files_in(root / "tmp")
    leaks.adopt_orphans()
    shared = leaks.shared_memory()
    draw_pool(root / "pool")
    seed = asked.seed
    while seed == asked.seed or time.monotonic() < end:
        print(f"== round {seed}: make soak SEED={seed} MINUTES=0", flush=True)
        folder = root / f"round{seed}"
        try:
            Round(folder, root / "pool", random.Random(seed), done).play()
            left = leaks.leaks(root, root / "tmp", shared)
            assert not left, "; ".join(left)
        except Exception:
            traceback.print_exc()
            print(f"round {seed} failed; its folder is {folder}")
            return 1
        history.append(leaks.held())
        print(f"== round {seed} passed: {history[-1]}", flush=True)
        shutil.rmtree(folder)
        seed += 1
    Finalize(None, shutil.rmtree, (root,), exitpriority=-200)  # after Python's own temporary files
    print(
        f"{len(history)} rounds passed: {', '.join(f'{count} {kind}' for kind, count in done.most_common())}"
    )
    return _judge(history[SETTLED:])


def _judge(history: list[leaks.Held]) -> int:
    """Tell whether memory, descriptors and mappings are flat; too few rounds say nothing."""
    if len(history) < SETTLED:
        print(f"memory is judged from {2 * SETTLED} rounds on")
        return 0
    part = max(2, len(history) // 4)
    flat = True
    for what in ("resident", "descriptors", "mappings"):
        values = [getattr(held, what) for held in history]
        first, last = statistics.median(values[:part]), statistics.median(values[-part:])
        flat &= last <= first * GROWTH
        print(f"{what}: {first:,.0f} in the first rounds that count, {last:,.0f} in the last")
    return int(not flat)


if __name__ == "__main__":
    sys.exit(main())
