"""The code blocks of the project's pages, as a reader would copy them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    PROJECT / "SECURITY.md",
    *sorted(PROJECT.glob("docs/**/*.md")),
]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: +title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<code>.*?)^ *```$",
    re.M | re.S,
)
_NOT_RUN = re.compile(r"<!-- not run: .+ -->\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that its `title` names, and the line that it starts at."""

    language: str
    title: str | None
    code: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Give the blocks of a page in order, but for those that a comment before them says are not run."""
    text = page.read_text()
    for fence in _FENCE.finditer(text):
        if not _NOT_RUN.search(text[: fence.start()]):
            code = re.sub(rf"^{fence['indent']}", "", fence["code"], flags=re.M)
            line = text.count("\n", 0, fence.start()) + 2
            yield Block(fence["language"], fence["title"], code, line)


def commands(code: str) -> list[str]:
    """Give the commands of a block, without prompts and comments; `\\` joins lines."""
    lines = re.sub(r"\\\n\s*", "", code).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
