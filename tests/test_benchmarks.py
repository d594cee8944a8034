"""Every figure that the documentation claims comes from a result in `benchmarks/results`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks.__main__ import Benchmark, run_all
from benchmarks.page import FIGURE, PAGES, TABLE, load, written
from benchmarks.record import RESULTS, SCHEMA, Result, Row
from benchmarks.tables import FIGURES, TABLES

ROOT = Path(__file__).parents[1]
FILES = sorted(path for path in RESULTS.glob("*.json") if path.name != SCHEMA)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_results_are_whole_runs_as_the_schema_says(path: Path) -> None:
    found, schema = json.loads(path.read_text()), json.loads((RESULTS / SCHEMA).read_text())
    jsonschema.validate(found, schema)
    assert schema == json.loads(json.dumps(Result.model_json_schema()))
    assert (found["benchmark"], found["quick"]) == (path.stem, False)
    told = {key: value for key, value in found["machine"].items() if key != "libraries"}
    assert not re.search(r"(?<!\w)/\w|\bhost|://", json.dumps(told) + found["command"])


@pytest.mark.parametrize("page", PAGES)
def test_pages_say_what_the_results_say(page: str) -> None:
    text = (ROOT / page).read_text()
    assert written(text, load(RESULTS)) == text, "python -m benchmarks.page writes the pages anew"


def test_the_readme_claims_no_figure_that_has_no_result() -> None:
    text = (ROOT / "README.md").read_text()
    text = FIGURE.sub("", TABLE.sub("", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)))
    elsewhere = "".join((ROOT / page).read_text() for page in ("docs/benchmarks.md", "docs/howto/disk.md"))
    claimed = re.findall(
        r"[\d.,]*\d(?= (?:ms|s|min|h|%|×|MB|GB|times)\b)|(?<=H-mean )[\d.]+\d|(?<=CLEval )[\d.]+\d", text
    )
    assert len(claimed) > 4
    assert [
        figure for figure in claimed if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", elsewhere)
    ] == []


def test_every_table_and_figure_is_in_a_page() -> None:
    text = "".join((ROOT / page).read_text() for page in PAGES)
    assert {match["name"] for match in TABLE.finditer(text)} == set(TABLES)
    assert {match["name"] for match in FIGURE.finditer(text)} == set(FIGURES)


def test_sides_are_compared_round_by_round() -> None:
    quick, slow = (Row(name="", unit="CPU ms", values=values) for values in ((1, 2), (4, 4)))
    assert quick.times_as_fast_as(slow) == (4, 2)
    rates: list[Any] = [Row(name="", unit="samples/s", values=values) for values in ((8, 9), (4, 3))]
    assert rates[0].times_as_fast_as(rates[1]) == (2, 3)


@pytest.mark.parametrize(
    "does", ["exit 1", 'sed "/name/d" old.json > "$4"; exit 1', 'sed "/name/d" old.json > "$4"']
)
def test_a_benchmark_that_fails_or_finds_nothing_leaves_its_result(
    does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = FILES[0].read_text()
    (tmp_path / "results").mkdir()
    (tmp_path / "build/bench").mkdir(parents=True)
    for path in (Path("old.json"), Path("results/maps.json")):
        path.write_text(before)
    stub = tmp_path / "python"
    stub.write_text(f"#!/bin/sh\n{does}\n")
    stub.chmod(0o755)
    maps = Benchmark("maps", python=stub)
    assert run_all([maps], Path("results"), receipts=None, quick=False) == ["maps"]
    assert Path("results/maps.json").read_text() == before


def test_a_benchmark_is_typed_as_its_line_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build/bench").mkdir(parents=True)
    Path("old.json").write_text(FILES[0].read_text())
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\necho "$*, $OMP_NUM_THREADS" > typed; cp old.json "$4"\n')
    stub.chmod(0o755)
    one = Benchmark("maps", "--rounds 7", "--rounds 2", receipts="--receipts", threads=1, python=stub)
    assert run_all([one], Path("quick"), receipts=Path("a b"), quick=True) == []
    assert Path("quick/maps.json").exists()
    told = "-m benchmarks.maps --json build/bench/maps.json --receipts a b --rounds 7 --quick --rounds 2, 1\n"
    assert Path("typed").read_text() == told
