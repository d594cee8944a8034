"""Kills runs at random places for a given time: `python -m tests.chaos --seconds 60 [--seed 0]`.

After each kill the published stores must be whole, and the rerun must give the clean build's digests.
Exits with 1 and the seed of the failing round at the first that does not.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from pipeline.maintenance import verify_store
from tests.support.toy import RUN_POINTS, STAGES, exit_code, run, write

_TEXTS = ("one", "one\ntwo", "bad", "12345", "a longer line of text", "")


def main() -> int:
    """Loop until the time is over; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    end, seed, kills = time.monotonic() + asked.seconds, asked.seed, 0
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            try:
                kills += _round(Path(folder), random.Random(seed))
            except AssertionError as failure:
                print(f"seed {seed}: {failure}")
                return 1
        seed += 1
    print(f"{seed - asked.seed} rounds, {kills} kills, every store whole and every rerun the clean build")
    return 0


def _round(folder: Path, rng: random.Random) -> int:
    """A data set that changes while runs over it are killed; gives the number of kills."""
    raw, work, kills = folder / "raw", folder / "work", 0
    write(raw, keep="always there")
    for _ in range(6):
        write(raw, **{rng.choice("abcdefgh"): rng.choice(_TEXTS) for _ in range(rng.randint(1, 4))})
        script = f"{rng.choice(RUN_POINTS)}:{rng.randint(1, 30)}:kill"
        kills += exit_code(script, raw, work) == -9
        for name in STAGES:
            path = work / f"val/{name}.zarr"
            assert not path.exists() or verify_store(path).passed, f"{name} is damaged after {script}"
    found = {name: result.digest for name, result in run(raw, work).items()}
    clean = {name: result.digest for name, result in run(raw, folder / "clean").items()}
    assert found == clean, "the rerun differs from the clean build"
    shutil.rmtree(raw)
    return kills


if __name__ == "__main__":
    sys.exit(main())
