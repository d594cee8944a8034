"""The page of promises names tests that there are, and leaves out no guarantee."""

from __future__ import annotations

import ast
import re

from tests.documentation.blocks import PROJECT

PAGE = (PROJECT / "docs/explanation/promises.md").read_text()


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", PAGE)
    assert len(named) > 40
    for file, name in named:
        tree = ast.parse((PROJECT / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (file, name)


def test_every_promise_has_tests_and_says_what_they_miss() -> None:
    rows = [row.strip("|").split("|") for row in PAGE.splitlines() if row.startswith("| ")][2:]
    assert len(rows) > 20
    for promise, tests, missed in rows:
        assert "::test_" in tests and missed.strip(), promise
