"""Runs the benchmarks that the documentation's figures come from, and writes results, tables and figures.

make bench                      # all of them: benchmarks/results/, README.md, docs/benchmarks.md
make bench QUICK=1              # few samples, two at a time, to see that everything runs: build/quick/
make bench ONLY="maps decode"   # some of them
make bench RECEIPTS=folder      # with img/NNN.jpg and box/NNN.csv; drawn receipts otherwise
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import NamedTuple

from benchmarks.child import ended, started
from benchmarks.measure import arguments
from benchmarks.record import RESULTS, Result

BUILD = Path("build")
LIBRARIES = BUILD / "libraries/bin/python"


class Benchmark(NamedTuple):
    """A script and what it is given; `quick` comes behind the rest."""

    name: str
    given: str = ""
    quick: str = ""
    module: str = ""
    """The script, where it is not called like the benchmark."""
    receipts: str | None = None
    """The option for receipts; empty where they have none and stand alone."""
    threads: int | None = None
    """OMP_NUM_THREADS, where one thread is measured."""
    python: Path = Path(sys.executable)


BENCHMARKS = (
    Benchmark("whole", quick="--train 2 --val 2 --epochs 1 --rounds 1 --validations 1", threads=1),
    Benchmark("preprocess", "--rounds 2", quick="--samples 4 --compared 4 --rounds 1", receipts="--receipts"),
    Benchmark("engine", quick="--samples 12 --many 2000", receipts="--receipts"),
    Benchmark("decode", quick="--rounds 1 --step 24 --samples 1", receipts="", threads=1),
    Benchmark("maps", quick="--rounds 1 --samples 1", receipts="--receipts", threads=1),
    Benchmark("read", quick="--samples 16 --rounds 1 --batch 16 --many 2016", threads=1),
    Benchmark(
        "libraries",
        "--only competitors --competitors all --samples 200 --batch 16 --rounds 3",
        "--samples 16 --rounds 1 --rest 0",
        module="read",
        threads=1,
        python=LIBRARIES,
    ),
    Benchmark("cold", quick="--samples 6 --rounds 1"),
    Benchmark("postprocess", quick="--rounds 1 --samples 1", receipts="", threads=1),
    Benchmark(
        "throughput", quick="--samples 8 --rounds 1 --workers 1 --kinds threads", receipts="--receipts"
    ),
    Benchmark("scaling", quick="--samples 8 --rounds 1 --workers 2 --seconds 0.3", receipts="--receipts"),
    Benchmark(
        "writers",
        "--samples 104 --rounds 2",
        "--samples 8 --rounds 1",
        receipts="--receipts",
        threads=1,
        python=LIBRARIES,
    ),
    Benchmark("metrics", quick="--rounds 1 --step 24 --samples 1", receipts="", threads=1),
)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few samples, two benchmarks at a time; results go to build/quick",
    )
    parser.add_argument("--only", nargs="*", metavar="NAME", choices=[one.name for one in BENCHMARKS])
    parser.add_argument("--receipts", type=Path, help="real ones; drawn ones otherwise")
    asked = parser.parse_args()
    results = BUILD / "quick" if asked.quick else RESULTS
    if asked.quick:
        shutil.rmtree(results, ignore_errors=True)
    chosen = [one for one in BENCHMARKS if not asked.only or one.name in asked.only]
    failed = run_all(chosen, results, asked.receipts, asked.quick)
    subprocess.run([sys.executable, "-m", "benchmarks.page", "--results", results], check=True)
    print(f"results are in {results}" + (f", their tables in {results}/tables.md" if asked.quick else ""))
    if asked.quick:
        print("few samples were taken, and two benchmarks ran at a time: no figure among them means anything")
    if failed:
        sys.exit(f"these failed, and their results are what they were: {', '.join(failed)}")


class Running(NamedTuple):
    """A benchmark under way, since `began` on the clock; with a `log` it prints into that."""

    benchmark: Benchmark
    process: subprocess.Popen[bytes]
    began: float
    log: Path | None


def run_all(chosen: Iterable[Benchmark], results: Path, receipts: Path | None, quick: bool) -> list[str]:
    """Run benchmarks, for a quick look two at a time, and give the names of those that failed.

    What one of two has printed is shown when it has ended. SIGTERM and Ctrl-C end all that run.
    """
    waiting, running, failed = list(chosen), list[Running](), list[str]()
    try:
        while waiting or running:
            while waiting and len(running) < (2 if quick else 1):
                running.append(begin(waiting.pop(0), receipts, quick))
            time.sleep(0.1)
            for one in [one for one in running if one.process.poll() is not None]:
                if not end(one, results):
                    failed.append(one.benchmark.name)
                running.remove(one)
    finally:
        with ExitStack() as stack:  # ends each of them even where this process is told to stop once more
            for one in running:
                stack.callback(ended, one.process, 0)
    return failed


def begin(one: Benchmark, receipts: Path | None, quick: bool) -> Running:
    """Start a benchmark, for a quick look with few samples."""
    file = BUILD / "bench" / f"{one.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    python = one.python if one.python.exists() else sys.executable
    command = [python, "-m", f"benchmarks.{one.module or one.name}", "--json", file]
    if receipts and one.receipts is not None:
        command += [one.receipts, receipts] if one.receipts else [receipts]
    command += [*one.given.split(), *(["--quick", *one.quick.split()] if quick else [])]
    environment = os.environ | ({"OMP_NUM_THREADS": str(one.threads)} if one.threads else {})
    log = file.with_suffix(".log") if quick else None
    print(f"== {one.name}{' begins' if log else ''}", flush=True)
    with log.open("w") if log else nullcontext() as told:
        return Running(one, started(command, environment, told, told), time.perf_counter(), log)


def end(one: Running, results: Path) -> bool:
    """Tell of a benchmark that has ended; its result replaces the one before only when all of it is there."""
    name, seconds = one.benchmark.name, time.perf_counter() - one.began
    failed = ended(one.process)
    if one.log:
        print(f"\n== {name}", one.log.read_text(errors="replace"), sep="\n", end="")
    print(f"== {name}: {seconds:.0f} s\n", flush=True)
    file = BUILD / "bench" / f"{name}.json"
    if failed or not file.exists() or not Result.model_validate_json(file.read_bytes()).rows:
        return False
    results.mkdir(parents=True, exist_ok=True)
    shutil.move(file, results / file.name)
    return True


if __name__ == "__main__":
    main()
