"""Every command and every code block of the pages does what it says, run in the order of its page."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documentation.blocks import PAGES, PROJECT, Block, blocks, commands
from tests.support.shell import Shell

SMALL = {
    r"(trainer\.(?:max_epochs|check_val_every_n_epoch))=\d+": r"\1=1",
    r"^(warmstore train)(?!.*max_epochs)": r"\1 trainer.max_epochs=1 trainer.check_val_every_n_epoch=1",
}
"""What makes a command long, and what it is in the tests."""
UNITS = {"min", "mixed"}  # or what depends on the processor
RUN = {"bash", "python", "yaml"}
SHOWN = {"text", "json", "toml"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_page_speaks_of_its_blocks(page: Path) -> None:
    unknown = {f"{page.name}:{block.line}" for block in blocks(page) if block.language not in RUN | SHOWN}
    assert unknown == set(), (
        "a block has no language: bash, python and yaml are run; text, json and toml are shown"
    )


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.language in RUN for block in blocks(page))],
    ids=lambda page: str(page.relative_to(PROJECT)),
)
def test_blocks_run(page: Path, workplace: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    told = ""
    for block in blocks(page):
        try:
            if block.title == "output":
                _compare(block.code, told)
            else:
                told = _run(block, page, workplace, names)
        except BaseException as error:
            error.add_note(f"in {page.relative_to(PROJECT)}, line {block.line}")
            raise


def _run(block: Block, page: Path, folder: Path, names: dict[str, Any]) -> str:
    """Do what a block says, and give what its commands printed."""
    if block.title:
        path = folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code)
    elif block.language == "bash":
        return "".join(_command(command, folder) for command in commands(block.code))
    elif block.language == "python":
        code = compile("\n" * (block.line - 1) + block.code, str(page), "exec", dont_inherit=True)
        with contextlib.chdir(folder), warnings.catch_warnings():
            warnings.simplefilter("default")
            exec(code, names)
    if block.language == "yaml":
        yaml.safe_load(block.code)
    return ""


def _compare(shown: str, told: str) -> None:
    """Find every line of a shown output in the real one: the same words, whatever the figures are."""
    real = [_words(line) for line in told.splitlines()]
    missing = [line for line in shown.splitlines() if not any(_words(line) <= words for words in real)]
    assert missing == [], told


def _words(line: str) -> set[str]:
    # Letters beside a digit are of a digest, and no word.
    return set(re.findall(r"(?<![0-9a-z])[A-Za-z][a-z]{2,}(?![0-9a-z])", line)) - UNITS


def _command(command: str, folder: Path) -> str:
    """Type a command and give what it printed; one of warmstore's into this process, for its libraries."""
    for long, short in SMALL.items():
        command = re.sub(long, short, command)
    words = shlex.split(command)
    if words[:2] == ["pip", "install"]:
        _install(folder / words[2])
        return ""
    if words[0] == "warmstore" and not {"|", ">", "&&", ";"} & set(words) and "$" not in command:
        done = Shell(folder, folder / "configs").typed(*words[1:])
        code, told = done.returncode, done.stdout + done.stderr
    else:
        path = f"{folder / '.venv/bin'}:{os.environ['PATH']}"
        known = {**os.environ, "COLUMNS": "160", "PATH": path, "PYTHONPATH": str(PROJECT)}
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=known, capture_output=True, text=True
        )
        code, told = ran.returncode, ran.stdout + ran.stderr
    if words[:2] == ["warmstore", "precision"] and "the detector finds nothing" in told:
        code -= 1  # the detector of the tests is not trained long enough to be compared
    assert code == 0, f"{command}\n{told}"
    return told


def _install(package: Path) -> None:
    """Let this process find a package's modules and entry points, as after an editable installation."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    told = package / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups]
    (told / "entry_points.txt").write_text("".join(lines))
    sys.path.insert(0, str(package))  # `workplace` takes it back
    importlib.invalidate_caches()
