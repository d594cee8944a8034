"""Moving finished chunks into a generation, so that a kill in between loses none of them.

A journal beside the chunks says where each goes before the first is moved; with it a later run
takes them back from a generation that was never published.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.digest import canonical_json
from pipeline.failpoints import reach
from pipeline.files import write_aside

_JOURNAL = "moves.json"


def move_all(staging: Path, target: Path, moves: Mapping[str, str]) -> None:
    """Rename files of `staging` into `target`; `moves` maps names there to names here.

    The folders in `target` exist, and nothing in them has one of these names.
    """
    write_aside(staging / _JOURNAL, canonical_json(moves), "record")
    for staged, name in moves.items():
        reach("assemble.link")
        # A path object would cost as much as the call.
        os.rename(f"{staging}/{staged}", f"{target}/{name}")  # noqa: PTH104


def moved_any(staging: Path) -> bool:
    """Tell whether files of `staging` may have been moved elsewhere."""
    return (staging / _JOURNAL).exists()


def take_back(staging: Path, target: Path) -> None:
    """Undo `move_all`, however far it came."""
    journal = staging / _JOURNAL
    with suppress(ValueError):  # emptied by a power cut: then what was moved is computed again
        for staged, name in json.loads(journal.read_bytes()).items():
            if not os.path.lexists(staging / staged):
                with suppress(FileNotFoundError):
                    (target / name).rename(staging / staged)
    journal.unlink()
