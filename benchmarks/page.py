"""Writes what `benchmarks/results/*.json` hold into the tables of README.md and docs/benchmarks.md.

    python -m benchmarks.page                          # and all of them with pictures into build/bench/
    python -m benchmarks.page --results build/quick    # only into build/quick/

A table follows a comment with its name, `<!-- table: maps -->`; a figure within a sentence stands between
`<!-- figure: metrics -->` and `<!-- -->`. Both are replaced; everything else is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.record import RESULTS, SCHEMA, AbsentError, Result, Results
from benchmarks.tables import FIGURES, TABLES
from scripts.plots import MARK, picture

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/benchmarks.md")
TABLE = re.compile(r"(?P<head>^<!-- table: (?P<name>[\w-]+) -->\n(?:<!-- .+ -->\n)?\n)(?:\|.*\n)*\n?", re.M)
FIGURE = re.compile(r"(?P<head><!-- figure: (?P<name>[\w-]+) -->)[^<]*(?=<!-- -->)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    folder = parser.parse_args().results
    results = load(folder)
    if folder == RESULTS:
        (RESULTS / SCHEMA).write_text(json.dumps(Result.model_json_schema(), indent=1) + "\n")
        for page in PAGES:
            (ROOT / page).write_text(written((ROOT / page).read_text(), results))
    draw(results, ROOT / "build/bench" if folder == RESULTS else folder)


def load(folder: Path) -> Results:
    """Results of a folder, by benchmark."""
    files = (path for path in sorted(folder.glob("*.json")) if path.name != SCHEMA)
    return Results({path.stem: Result.model_validate_json(path.read_bytes()) for path in files})


def written(text: str, results: Results) -> str:
    """Give a page with its tables and figures as the results say; those without a result stay as they are."""

    def made(makers: Mapping[str, Callable[[Results], str]], end: str) -> Callable[[re.Match[str]], str]:
        def make(match: re.Match[str]) -> str:
            try:
                return match["head"] + makers[match["name"]](results) + end
            except AbsentError:
                return match[0]

        return make

    return FIGURE.sub(made(FIGURES, ""), TABLE.sub(made(TABLES, "\n"), text))


def draw(results: Results, folder: Path) -> None:
    """Write the tables that there are results for, and the pictures that they ask for, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    told = []
    for match in TABLE.finditer("".join((ROOT / page).read_text() for page in PAGES)):
        name = match["name"]
        try:
            told.append(match["head"] + TABLES[name](results))
        except AbsentError as absent:
            told.append(f"{name}: there is no result of {absent}\n")
            continue
        if mark := MARK.search(told[-1]):
            drawn = picture(mark["kind"], mark["asked"], mark["table"])
            (folder / f"{name}.svg").write_text(
                drawn.removeprefix('<div class="plot">').removesuffix("</div>")
            )
    (folder / "tables.md").write_text("\n".join(told))


if __name__ == "__main__":
    main()
