"""Kills and stops parts of a dask cluster at random: `python -m tests.chaos_cluster --seconds 60 [--seed 0]`.

Workers are killed and replaced, or stopped for a while; schedulers and clients are killed. A client that was
killed, or lost its scheduler, is started again until its store is published. Each store must have the digest
of a serial run, without a verdict. Exits with 1 where one has not, or a client fails otherwise.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pipeline.store import open_store
from tests.support.dask_processes import PROJECT, Cluster, kill, tell
from tests.support.toy import run, write

_CLIENT = """
import sys
from pathlib import Path
from pipeline.errors import PipelineError
from pipeline.execution import ExecutorConfig
from tests.support.toy import run
_, raw, work, address = sys.argv
try:
    run(Path(raw), Path(work), ["read"], ExecutorConfig(kind="dask", address=address, batch=2))
except PipelineError as error:
    if "scheduler" not in str(error):
        raise
    sys.exit(75)
"""
_AGAIN = (75, -signal.SIGKILL)
_ROUND = 600  # seconds after which a round hangs


def main() -> int:
    """Loop until the time is over; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    end, seed, faults = time.monotonic() + asked.seconds, asked.seed, Counter[str]()
    with tempfile.TemporaryDirectory(prefix="chaos-") as given:
        folder, raw = Path(given), Path(given) / "raw"
        write(raw, **{f"s{i:03}": f"slowly {i}" for i in range(60)})
        wanted = run(raw, folder / "clean", ["read"])["read"].digest
        with _Chaos(folder, raw) as chaos:
            while seed == asked.seed or time.monotonic() < end:
                chaos.round(folder / f"work{seed}", random.Random(seed), faults)
                store = open_store(folder / f"work{seed}/val/read.zarr")
                if store.digest != wanted:
                    print(f"seed {seed}: the store differs, quarantined: {store.info.quarantined}")
                    return 1
                seed += 1
    told = ", ".join(f"{name} {count}" for name, count in sorted(faults.items()))
    print(f"{seed - asked.seed} rounds ({told}), every store the serial one's")
    return 0


class _Chaos:
    """A cluster with a client, and what befalls them."""

    def __init__(self, folder: Path, raw: Path) -> None:
        self.folder, self.raw, self.clusters = folder, raw, list[Cluster]()

    def __enter__(self) -> _Chaos:
        self._start_cluster()
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.end()

    @property
    def cluster(self) -> Cluster:
        """The cluster that is there now."""
        return self.clusters[-1]

    def _start_cluster(self) -> None:
        folder = self.folder / f"cluster{len(self.clusters)}"
        folder.mkdir()
        self.clusters.append(Cluster(folder))
        self.cluster.join()
        self.cluster.join()

    def round(self, work: Path, rng: random.Random, faults: Counter[str]) -> None:
        """Run clients until one has published, and make trouble every few seconds."""
        client, began = self._client(work), time.monotonic()
        while True:
            try:
                code = client.wait(rng.uniform(2, 8))
            except subprocess.TimeoutExpired:
                fault = rng.choices(
                    ("worker killed", "worker stopped", "scheduler killed", "client killed"), (4, 3, 1, 2)
                )[0]
                faults[fault] += 1
                self._strike(fault, rng, client)
                if time.monotonic() - began > _ROUND:
                    kill(client)
                    raise SystemExit(f"{work.name} has not ended after {_ROUND} s") from None
                continue
            if code == 0:
                return
            if code not in _AGAIN:
                raise SystemExit(f"{work.name}: a client ended with exit code {code}")
            client = self._client(work)

    def _client(self, work: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _CLIENT, str(self.raw), str(work), self.cluster.address]
        return subprocess.Popen(command, cwd=PROJECT)

    def _strike(self, fault: str, rng: random.Random, client: subprocess.Popen[bytes]) -> None:
        victim = rng.choice(self.cluster.workers)
        if fault == "worker killed":
            self.cluster.workers.remove(victim)
            self.cluster.join()
            kill(victim)
        elif fault == "worker stopped":
            tell(victim, signal.SIGSTOP)
            time.sleep(rng.uniform(0.5, 3))
            tell(victim, signal.SIGCONT)
        elif fault == "scheduler killed":
            kill(self.cluster.scheduler)
            time.sleep(rng.uniform(0, 2))
            self.cluster.end()
            self._start_cluster()
        else:
            kill(client)


if __name__ == "__main__":
    sys.exit(main())
