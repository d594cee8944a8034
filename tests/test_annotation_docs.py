"""The page on annotations names what the code can say."""

from __future__ import annotations

from pathlib import Path

from ocr.annotations import FORMATS
from tests.test_frames import ALONE
from tests.test_paths import COLLISIONS, FILES, NAMES
from tests.test_polygons import DAMAGED, DROPPED

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/annotations.md"


def test_every_format_rule_and_code_is_documented() -> None:
    verdicts = {*NAMES.values(), *FILES.values(), *(code for _, code in COLLISIONS)} - {None}
    repairs = DROPPED.union(*(codes for _, _, codes in DAMAGED.values()))
    rules = {rule for *_, rule in ALONE if rule}
    words = {*FORMATS, *verdicts, *repairs, *rules, "majority", "frame_unknown", "bad_annotation"}
    page = PAGE.read_text()
    assert [word for word in sorted(map(str, words)) if f"`{word}`" not in page] == []
