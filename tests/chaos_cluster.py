"""Kills and stops dask workers at random: `python -m tests.chaos_cluster --seconds 60 [--seed 0]`.

Each run must give the digest of a serial one, without a verdict. Exits with 1 where one does not.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from pipeline.execution import ExecutorConfig
from tests.support.dask_processes import Cluster, kill, tell
from tests.support.toy import run, write


def main() -> int:
    """Loop until the time is over; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    end, seed, faults = time.monotonic() + asked.seconds, asked.seed, 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as given:
        folder, raw = Path(given), Path(given) / "raw"
        write(raw, **{f"s{i:03}": f"slowly {i}" for i in range(60)})
        wanted = run(raw, folder / "clean", ["read"])["read"].digest
        with Cluster(folder) as cluster:
            cluster.join()
            cluster.join()
            while seed == asked.seed or time.monotonic() < end:
                over = threading.Event()
                trouble = _Trouble(cluster, random.Random(seed), over)
                trouble.start()
                config = ExecutorConfig(kind="dask", address=cluster.address, batch=2)
                found = run(raw, folder / f"work{seed}", ["read"], config)["read"]
                over.set()
                trouble.join()
                faults += trouble.faults
                if found.digest != wanted:
                    print(f"seed {seed}: the store differs, {found.quarantined} are quarantined")
                    return 1
                seed += 1
    print(f"{seed - asked.seed} rounds, {faults} workers killed or stopped, every store the serial one's")
    return 0


class _Trouble(threading.Thread):
    """Kills a worker and lets another join, or stops one for a while, until the run is over."""

    def __init__(self, cluster: Cluster, rng: random.Random, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.cluster, self.rng, self.over, self.faults = cluster, rng, over, 0

    def run(self) -> None:
        """Make trouble every few seconds."""
        while not self.over.wait(self.rng.uniform(1, 6)):
            self.faults += 1
            victim = self.rng.choice(self.cluster.workers)
            if self.rng.random() < 0.6:
                self.cluster.workers.remove(victim)
                self.cluster.join()
                kill(victim)
            else:
                tell(victim, signal.SIGSTOP)
                time.sleep(self.rng.uniform(0.5, 3))
                tell(victim, signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(main())
