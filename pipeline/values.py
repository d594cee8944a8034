"""Values of fields: checked against their declaration, named by their content, kept in records.

The digest of a value is what a downstream stage knows of it, and what a stored value is verified
against; so it covers the value alone (raw little-endian bytes in C order), not how it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.digest import digest
from pipeline.errors import PipelineError
from pipeline.stage import Chunked, Field, File, FileContent, Ragged, Row, Stage, Text


def check_outputs(stage: Stage, sample_id: str, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Hold what a stage gave against what it declared, field by field; arrays become contiguous.

    Raises PipelineError naming stage, sample and field: the stage's code is wrong, not the data.
    """
    fields = stage.fields()
    if set(outputs) != {field.name for field in fields}:
        raise PipelineError(
            f"stage {stage.name} gave the fields {sorted(outputs)} for {sample_id} "
            f"where it declares {sorted(field.name for field in fields)}; mend its compute()"
        )
    checked = {}
    for field in fields:
        problem, value = _check(field, outputs[field.name])
        if problem:
            raise PipelineError(
                f"stage {stage.name} gave {problem} for field {field.name} of {sample_id}; "
                "mend its compute() or what fields() declares"
            )
        checked[field.name] = value
    return checked


def value_digest(field: Field, value: Any) -> bytes:
    """Digest of a checked value: 16 bytes."""
    if isinstance(field, Chunked | Row):
        return digest(_raw(value))
    if isinstance(field, Text):
        return digest(value.encode())
    if isinstance(field, File):
        return digest(value.data)
    if field.levels == 1:
        return digest(_raw(value))
    lengths = np.array([len(part) for part in value], dtype=np.int64)
    return digest(lengths.tobytes(), *[_raw(part) for part in value])


def to_record(field: Row | Ragged | Text, value: Any) -> Any:
    """Spell a small value as JSON; numbers survive exactly (hexadecimal bytes)."""
    if isinstance(field, Text):
        return value
    if isinstance(field, Ragged) and field.levels == 2:
        return [part.tobytes().hex() for part in value]
    return value.tobytes().hex()


def from_record(field: Row | Ragged | Text, spelled: Any) -> Any:
    """Read a small value back from its record."""
    if isinstance(field, Text):
        return spelled
    if isinstance(field, Ragged) and field.levels == 2:
        return tuple(_array(field, part) for part in spelled)
    return _array(field, spelled)


def _array(field: Row | Ragged, spelled: str) -> Any:
    shape = field.shape if isinstance(field, Row) else (-1, *field.shape)
    return np.frombuffer(bytes.fromhex(spelled), dtype=field.dtype).reshape(shape)


def _raw(array: Any) -> Any:
    return array.reshape(-1).view(np.uint8).data


def _check(field: Field, value: Any) -> tuple[str, Any]:
    """Give a problem in words (or nothing) and the value in its canonical form."""
    if isinstance(field, Text):
        return ("", value) if isinstance(value, str) else (f"a {type(value).__name__}", value)
    if isinstance(field, File):
        return ("", value) if isinstance(value, FileContent) else (f"a {type(value).__name__}", value)
    if isinstance(field, Ragged):
        if field.levels == 1:
            return _check_array(value, field.dtype, field.shape, ragged=True)
        if not isinstance(value, Sequence):
            return f"a {type(value).__name__} where a sequence of arrays belongs", value
        parts = [_check_array(part, field.dtype, field.shape, ragged=True) for part in value]
        problem = next((problem for problem, _ in parts if problem), "")
        return problem, tuple(part for _, part in parts)
    return _check_array(value, field.dtype, field.shape, ragged=False)


def _check_array(value: Any, dtype: str, shape: tuple[int, ...], ragged: bool) -> tuple[str, Any]:
    if not isinstance(value, np.ndarray | np.generic):
        return f"a {type(value).__name__} where an array belongs", value
    found = value.shape[1:] if ragged else value.shape
    if value.dtype != np.dtype(dtype) or found != shape or (ragged and value.ndim == 0):
        wanted = f"{dtype} {('n', *shape) if ragged else shape}"
        return f"{value.dtype} {value.shape} where {wanted} belongs", value
    return "", np.asarray(value, order="C")
