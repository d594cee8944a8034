"""The documentation as a site: complete, without a dead link, and nothing in it comes from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation.blocks import PROJECT

pytest.importorskip("mkdocs", reason="the extra [docs] is not installed: pip install -e '.[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; links, anchors and pages that are left out are errors (`strict` in mkdocs.yml)."""
    folder = tmp_path_factory.mktemp("site")
    known = {**os.environ, "PYTHONPATH": str(PROJECT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=PROJECT, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=\"?(?:https?:)?//[^\s>]+|<link[^>]+href=\"?(?:https?:)?//[^\s>]+"
    )
    imports = re.compile(r"@import[^;]+|url\(\"?(?:https?:)?//[^)]+")
    found = {hit for page in site.rglob("*.html") for hit in loads.findall(page.read_text())}
    found |= {hit for sheet in site.rglob("*.css") for hit in imports.findall(sheet.read_text())}
    assert {hit for hit in found if 'rel="canonical"' not in hit} == set()


def test_the_reference_has_every_command_key_and_name(site: Path) -> None:
    import warmstore
    from warmstore.cli import cli

    pages = {
        name: (site / f"reference/{name}.html").read_text()
        for name in ("commands", "configuration", "python")
    }
    assert [name for name in cli.commands if f'id="warmstore-{name}' not in pages["commands"]] == []
    assert [name for name in warmstore.__all__ if f"warmstore.{name}" not in pages["python"]] == []
    keys = (
        "data.splits.<split>.images",
        "stages.maps.shrink_ratio",
        "model.params.backbone",
        "cache.budget",
    )
    assert [key for key in keys if f'id="{key}"' not in pages["configuration"]] == []
    assert "<!-- every" not in "".join(pages.values())


def test_tables_that_ask_for_it_are_drawn(site: Path) -> None:
    page = (PROJECT / "docs/benchmarks.md").read_text()
    asked = len(re.findall(r"<!-- (?:bars|lines): .+ -->\n\n\|", page))
    assert asked and (site / "benchmarks.html").read_text().count('class="plot"') == asked
