"""Mutation testing of pipeline/: changes one place at a time, and runs the tests that cover it.

    pip install cosmic-ray                                # makes the mutants; no dependency of the project
    make coverage                                         # tells which tests cover which line
    python scripts/mutants.py --sample 240 --seed 0       # again goes on where it was stopped

The sample is drawn at random over all places, one of each room first, and each beginning of it is a random
sample too. Its results are lines of build/mutants/results.jsonl; what survived is printed as a difference.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import difflib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "build/coverage"
OUT = ROOT / "build/mutants"
COPIED = ("pipeline", "ocr", "stages", "warmstore", "configs", "tests", "pyproject.toml", "README.md")
PARTS = (2.0, 8.0, 60.0)  # seconds of tests, as they take without a mutant: the next where it survives one
FILES = 3  # files that the first part is of: to load them takes longer than to run their quickest tests


class Place(NamedTuple):
    """Where a mutant is: the file, its line, and what to ask cosmic-ray for."""

    file: str
    line: int
    operator: str
    occurrence: int

    @property
    def room(self) -> str:
        """Room of pipeline/: a folder or a file."""
        return self.file.split("/")[1]


def main() -> None:
    """Draw the sample, and judge what has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sample", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", nargs="*", default=[], help="of the sample, those in these rooms only")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--again", action="store_true", help="judge again what survived")
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    places = _places(random.Random(asked.seed))[: asked.sample]
    places = [place for place in places if not asked.rooms or place.room in asked.rooms]
    known = _results()
    todo = [
        place
        for place in places
        if str(place) not in known or (asked.again and known[str(place)]["outcome"] == "survived")
    ]
    covered, seconds = _covered(), _seconds()
    children = []
    for job in range(asked.jobs):
        child = os.fork()
        if child == 0:
            tree = _copy(job)
            for place in todo[job :: asked.jobs]:
                if time.monotonic() < end:
                    _tell(place, _judge(place, tree, covered, seconds))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    known = _results()
    found = [known[str(place)] for place in places if str(place) in known]
    killers = sorted({result["by"] for result in found if "::" in result["by"]})
    outcome, by = _run(killers, _copy(0), 3600) if killers else ("survived", "")
    if outcome != "survived":
        print(f"without a mutant, too: {outcome} {by}")
    _report(found)


def _tell(place: Place, found: dict[str, str]) -> None:
    """Keep a result, and print it."""
    with (OUT / "results.jsonl").open("a") as results:
        results.write(json.dumps({"place": str(place), "room": place.room, **found}) + "\n")
    print(f"{found['outcome']:10}{place.file}:{place.line} {place.operator} {found['by']}", flush=True)
    if found["outcome"] == "survived":
        print(found["difference"], flush=True)


def _copy(job: int) -> Path:
    """Copy the project to where the mutants of a job live."""
    tree = OUT / f"tree{job}"
    shutil.rmtree(tree, ignore_errors=True)
    command = ["git", "ls-files", "-co", "--exclude-standard", *COPIED]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    for name in listed.stdout.splitlines():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    for folder in ("pipeline", "tests/support", "tests/pipeline"):
        compileall.compile_dir(tree / folder, quiet=2)
    return tree


def _places(rng: random.Random) -> list[Place]:
    """Give one mutant for each place and kind of change, in a random order; one of each room comes first."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.plugins import get_operator, operator_names

    operators = {name: get_operator(name) for name in sorted(operator_names())}
    made = {name: operator() for name, operator in operators.items() if not operator.arguments()}
    places: dict[tuple[Any, ...], list[Place]] = defaultdict(list)
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        annotated = _annotations(path)
        counts, file = Counter[str](), path.relative_to(ROOT).as_posix()
        for node in ast_nodes(get_ast_from_path(path)):
            for name, operator in made.items():
                for start, stop in operator.mutation_positions(node):
                    place = Place(file, start[0], name, counts[name])
                    counts[name] += 1
                    if not any(first <= start < last for first, last in annotated):
                        places[file, start, stop, name.rpartition("_")[0] or name].append(place)
    chosen = [rng.choice(group) for group in places.values()]
    rng.shuffle(chosen)
    first = {place.room: place for place in reversed(chosen)}
    return [*first.values(), *(place for place in chosen if first[place.room] != place)]


def _annotations(path: Path) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Find annotations, which nothing evaluates: from (line, column) to (line, column)."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        for child in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(child, ast.expr):
                assert child.end_lineno is not None and child.end_col_offset is not None
                found.append(((child.lineno, child.col_offset), (child.end_lineno, child.end_col_offset)))
    return found


def _covered() -> dict[tuple[str, int], set[str]]:
    """Give the tests that run a line, as `file::function`, or a file where processes that it starts do."""
    data = CoverageData(str(MEASURED / "data"))
    data.read()
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for measured in data.measured_files():
        file = "pipeline" + measured.rpartition("/pipeline")[2]
        for line, contexts in data.contexts_by_lineno(measured).items():
            for context in filter(None, contexts):
                tests, _, function = context.partition("|")
                module, _, name = function.rpartition(".")
                found[file, line].add(f"{module.replace('.', '/')}.py::{name}" if function else tests)
    return found


def _seconds() -> dict[str, float]:
    """Give what each test took while it was measured; without those that failed or were skipped."""
    found = {}
    for report in MEASURED.glob("*/tests.xml"):
        for case in ElementTree.parse(report).iter("testcase"):
            if not len(case):
                file = case.attrib["classname"].replace(".", "/") + ".py"
                found[f"{file}::{case.attrib['name']}"] = float(case.attrib["time"])
    return found


def _judge(
    place: Place, tree: Path, covered: dict[tuple[str, int], set[str]], seconds: dict[str, float]
) -> dict[str, str]:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    target = tree / place.file
    original = target.read_text()
    mutated = mutate_code(original, get_operator(place.operator)(), place.occurrence)
    assert mutated is not None
    difference = "".join(
        line
        for line in difflib.unified_diff(original.splitlines(True), mutated.splitlines(True), n=1)
        if not line.startswith(("---", "+++"))
    )
    chosen = _chosen(place, covered)
    tests = _ordered([test for test in seconds if any(_is_of(test, one) for one in chosen)], seconds)
    outcome, by, ran = "survived", "", 0
    try:
        target.write_text(mutated)
        for part in _parts(tests, seconds):
            if outcome == "survived":
                run, limit, ran = part, 60 + 4 * sum(seconds[test] for test in part), ran + len(part)
                outcome, by = _run(run, tree, limit)
    finally:
        target.write_text(original)
    if outcome == "survived":
        by = f"({ran} tests)"
    if outcome == "timed out" and _run(run, tree, limit / 3)[0] == "survived":
        outcome, by = "killed", f"(no end in {limit:.0f} s; without it there is one in a third)"
    return {"outcome": outcome, "by": by, "difference": difference}


def _chosen(place: Place, covered: dict[tuple[str, int], set[str]]) -> set[str]:
    """Give the tests of a line (of the statement that it ends, where it has none).

    For what runs on import, or in other processes only, those of the whole file.
    """
    lines = (covered.get((place.file, line)) for line in range(place.line, place.line - 8, -1))
    chosen = next(filter(None, lines), set[str]())
    if any("::" in test for test in chosen) and _in_function(place):
        return chosen
    whole = set[str]().union(*(tests for (file, _), tests in covered.items() if file == place.file))
    return {test for test in whole if "::" in test} or chosen


def _in_function(place: Place) -> bool:
    """Tell whether a place is in the body of a function, and not in what defines it."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = (
        node for node in ast.walk(ast.parse((ROOT / place.file).read_text())) if isinstance(node, functions)
    )
    return any(node.body[0].lineno <= place.line <= (node.end_lineno or 0) for node in found)


def _is_of(test: str, chosen: str) -> bool:
    """`a/b.py::test_x[1]` is of `a/b.py::test_x`, of `a/b.py` and of `a`."""
    return (
        test.partition("[")[0] == chosen or test.partition("::")[0] == chosen or test.startswith(f"{chosen}/")
    )


def _ordered(tests: Sequence[str], seconds: dict[str, float]) -> list[str]:
    """Order tests by their time; first those of few files, of the engine's own where there are any."""
    by_file = defaultdict[str, list[str]](list)
    for test in sorted(tests, key=seconds.__getitem__):
        by_file[test.partition("::")[0]].append(test)
    files = sorted(by_file, key=lambda file: (not file.startswith("tests/pipeline"), -len(by_file[file])))
    first = [test for file in files[:FILES] for test in by_file[file][:8]]
    first = [test for test in first if seconds[test] < PARTS[0] / 8]
    return first + sorted(set(tests).difference(first), key=seconds.__getitem__)


def _parts(tests: Sequence[str], seconds: dict[str, float]) -> Iterator[list[str]]:
    """Cut tests into parts that are run one after another; what would take longer than all is left out."""
    spent, left = 0.0, list(tests)
    for limit in itertools.accumulate(PARTS):
        part = []
        while left and (spent + seconds[left[0]] <= limit or not spent):
            spent += seconds[left[0]]
            part.append(left.pop(0))
        if part:
            yield part


def _run(tests: Sequence[str], tree: Path, limit: float) -> tuple[str, str]:
    """Run tests in a fork of this process, which has their libraries loaded; gives outcome and failure."""
    said = tree / "first-failure"
    said.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os._exit(_tests(tests, tree, said))
    end = time.monotonic() + limit
    status = None
    while status is None and time.monotonic() < end:
        done, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        time.sleep(0.02)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "timed out", "(no more than without a mutant)"
    by = said.read_text() if said.exists() else f"(exit code {status})"
    return ("survived", "") if status == 0 else ("killed", by)


def _tests(tests: Sequence[str], tree: Path, said: Path) -> int:
    import pytest

    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = str(tree)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    null = os.open(tree / "last.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(null, 1)
    os.dup2(null, 2)

    class Plugin:
        """Writes down the first failure."""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.outcome == "failed":
                said.write_text(report.nodeid)

    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        loaded = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # plugins, by this process
        options = ["-x", "-q", "-p", "no:cacheprovider", "-n", "0", f"--basetemp={scratch}/t", *loaded]
        return int(pytest.main([*options, *tests], plugins=[Plugin()]))


def _results() -> dict[str, dict[str, str]]:
    path = OUT / "results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {found["place"]: found for found in map(json.loads, lines)}


def _report(found: Sequence[dict[str, str]]) -> None:
    """Print what was killed, room by room."""
    rooms = defaultdict(Counter)
    for result in found:
        rooms[result["room"]][result["outcome"]] += 1
        rooms["all"][result["outcome"]] += 1
    for room, counts in rooms.items():
        killed, total = counts["killed"], counts.total()
        print(
            f"{room:16} {killed:4} killed of {total:4}: {killed / total:.0%}; {counts['timed out']} timed out"
        )


if __name__ == "__main__":
    # What tests load besides the project, once for all mutants.
    import boto3  # noqa: F401
    import cv2  # noqa: F401
    import distributed  # noqa: F401
    import hypothesis  # noqa: F401
    import numcodecs  # noqa: F401
    import numpy  # noqa: F401
    import psutil  # noqa: F401
    import pyclipper  # noqa: F401
    import pydantic  # noqa: F401
    import pytest
    import shapely  # noqa: F401
    import torch  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    main()
