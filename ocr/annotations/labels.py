"""What a reader is asked to read, how, and where it counts what a person should know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocr.annotations.entries import Pieces


def keys(names: str) -> frozenset[str]:
    """Give the set of keys that are written in one string."""
    return frozenset(names.split())


@dataclass(frozen=True)
class LabelOptions:
    """What a split says of its labels beside their place and format.

    `encoding` is that of text and JSON; None: UTF-8, or what a byte order mark says. `follow_links`:
    links may lead out of the folders. `subset` picks the images of that `set` where a file holds several
    (`*`: all of them); None: those of the set that is called like the `split`. `categories` picks words.
    """

    encoding: str | None = None
    follow_links: bool = False
    subset: str | None = None
    categories: tuple[str, ...] | None = None
    split: str = ""


PLAIN = LabelOptions()


class Remarks:
    """Things that a person should know although they refuse no image: each is told once, with its count."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def add(self, where: str, what: str, times: int = 1) -> None:
        """Count `what`, a sentence whose subject is `where` (the file it was first seen in)."""
        self._first.setdefault(what, where)
        self._counts[what] += times

    def add_all(self, others: Remarks) -> None:
        """Count what others have counted."""
        for what, times in others._counts.items():
            self.add(others._first[what], what, times)

    def told(self) -> tuple[str, ...]:
        """Give a sentence for each."""
        return tuple(
            f"{self._first[what]} {what}" + (f" ({count:,} times)" if count > 1 else "")
            for what, count in self._counts.items()
        )


@dataclass
class Labels:
    """The annotations at `path` of the images below `images`.

    A reader of a format with dialects writes into `format` the one that it found, and one that reads entry
    by entry into `pieces` where they stand.
    """

    path: Path
    images: Path
    format: str = "auto"
    options: LabelOptions = PLAIN
    remarks: Remarks = field(default_factory=Remarks)
    pieces: Pieces | None = None

    def remark(self, what: str, times: int = 1) -> None:
        """Tell something of the whole file or folder."""
        self.remarks.add(self.path.name, what, times)

    def unread(self, level: str, value: Mapping[str, Any], known: frozenset[str]) -> None:
        """Count the keys of an object that are not known here, unless they are empty."""
        for key in () if value.keys() <= known else sorted(value.keys() - known):
            if value[key] not in (None, "", False, [], {}):
                self.remark(f"holds {level}{key[:40]!a}, a key that is not read")
