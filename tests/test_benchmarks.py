"""Every figure that the documentation claims comes from a result in `benchmarks/results`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

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


def test_every_table_and_figure_is_in_a_page() -> None:
    text = "".join((ROOT / page).read_text() for page in PAGES)
    assert {match["name"] for match in TABLE.finditer(text)} == set(TABLES)
    assert {match["name"] for match in FIGURE.finditer(text)} == set(FIGURES)


def test_sides_are_compared_round_by_round() -> None:
    quick, slow = (Row(name="", unit="CPU ms", values=values) for values in ((1, 2), (4, 4)))
    assert quick.times_as_fast_as(slow) == (4, 2)
    rates: list[Any] = [Row(name="", unit="samples/s", values=values) for values in ((8, 9), (4, 3))]
    assert rates[0].times_as_fast_as(rates[1]) == (2, 3)
