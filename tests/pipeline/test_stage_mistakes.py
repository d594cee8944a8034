"""What a stage of one's own gives is held against what it declares, and a mistake is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.stage import FileContent
from pipeline.store import Parts, check_field_names, check_values
from tests.support.toy import Read

FIELDS = Read().fields()
GOOD: dict[str, Any] = {
    "copy": FileContent("a.txt", b"one", Path("a.txt")),
    "length": np.int32(3),
    "lines": [np.zeros(3, np.uint8), np.zeros(0, np.uint8)],
    "words": np.zeros(2, np.int16),
    "kind": "letters",
}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("copy", b"one", "a bytes"),
        ("kind", 3, "a int"),
        ("length", 3, "a int where an array belongs"),
        ("length", np.int64(3), r"int64 \(\) where int32 \(\) belongs"),
        ("length", np.zeros(1, np.int32), r"int32 \(1,\) where int32 \(\) belongs"),
        ("words", [1, 2], "a list where an array belongs"),
        ("words", np.int16(3), r"int16 \(\) where int16 \('n',\) belongs"),
        ("words", np.zeros((2, 2), np.int16), r"int16 \(2, 2\) where int16 \('n',\) belongs"),
        ("lines", 3, "a int where a sequence of arrays belongs"),
        ("lines", [np.zeros(3, np.uint8), "two"], "a str where an array belongs"),
        ("lines", [np.zeros(3, np.uint8), np.zeros(3, np.int8)], r"int8 \(3,\) where uint8 \('n',\) belongs"),
        ("lines", [np.zeros((3, 1), np.uint8)], r"uint8 \(3, 1\) where uint8 \('n',\) belongs"),
    ],
)
def test_a_value_that_was_not_declared_is_named(field: str, value: Any, told: str) -> None:
    with pytest.raises(PipelineError, match=f"^stage read gave {told} for field {field} of a.txt; mend"):
        check_values(Read(), FIELDS, "a.txt", {**GOOD, field: value})


def test_what_was_declared_is_taken_in_one_form() -> None:
    strided = np.arange(6, dtype=np.int16)[::2]
    found = check_values(Read(), FIELDS, "a.txt", {**GOOD, "words": strided})
    assert found.keys() == GOOD.keys()
    assert found["words"].flags.c_contiguous and found["words"].tolist() == [0, 2, 4]
    assert isinstance(found["lines"], Parts) and list(map(len, found["lines"])) == [3, 0]


@pytest.mark.parametrize("names", [["copy"], [*GOOD, "more"]])
def test_other_fields_than_declared_are_named(names: list[str]) -> None:
    check_field_names(Read(), FIELDS, "a.txt", GOOD)
    with pytest.raises(PipelineError, match=r"^stage read gave the fields .* for a\.txt where it declares"):
        check_field_names(Read(), FIELDS, "a.txt", dict.fromkeys(names))
