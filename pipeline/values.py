"""Values of fields: checked against their declaration, named by their content, kept in records.

A value is a few runs of raw bytes, its parts: little-endian in C order, UTF-8, or, where the value
is a sequence of arrays, their lengths and then their items end to end. Parts are what is digested,
recorded and stored. The digest is what a downstream stage knows of the value, and what a stored
value is verified against; so it covers the value alone, not how it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.digest import digest
from pipeline.errors import PipelineError
from pipeline.stage import Field, File, FileContent, Ragged, Stage, Text

if TYPE_CHECKING:
    from typing_extensions import Buffer


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


def value_parts(field: Field, value: Any) -> tuple[Buffer, ...]:
    """Give a checked value as raw bytes: (lengths int64, items) for `levels=2`, one run for all others."""
    if isinstance(field, Text):
        return (value.encode(),)
    if isinstance(field, File):
        return (value.data,)
    if isinstance(field, Ragged) and field.levels == 2:
        lengths = np.array([len(part) for part in value], dtype=np.int64)
        return (lengths.data, _raw(np.concatenate(value)) if value else b"")
    return (_raw(value),)


def value_digest(field: Field, value: Any) -> bytes:
    """Digest of a checked value: 16 bytes."""
    return digest(*value_parts(field, value))


def to_record(parts: Sequence[Buffer]) -> list[str]:
    """Spell a small value's parts as JSON; numbers survive exactly (hexadecimal bytes)."""
    return [bytes(part).hex() for part in parts]


def from_record(spelled: Sequence[str]) -> list[bytes]:
    """Read a small value's parts back from its record."""
    return [bytes.fromhex(part) for part in spelled]


def item_bytes(field: Ragged) -> int:
    """Bytes of one item of a Ragged field."""
    return int(np.dtype(field.dtype).itemsize * np.prod(field.shape, dtype=np.int64))


def _raw(array: Any) -> Any:
    return array.reshape(-1).view(np.uint8).data


def _check(field: Field, value: Any) -> tuple[str, Any]:
    """Give a problem in words (or nothing) and the value in its canonical form."""
    if isinstance(field, Text):
        return ("", value) if isinstance(value, str) else (f"a {type(value).__name__}", value)
    if isinstance(field, File):
        return ("", value) if isinstance(value, FileContent) else (f"a {type(value).__name__}", value)
    if not isinstance(field, Ragged):
        problem = _array_problem(value, np.dtype(field.dtype), field.shape, ragged=False)
        return problem, value if problem else np.asarray(value, order="C")
    if field.levels == 2 and not isinstance(value, Sequence):
        return f"a {type(value).__name__} where a sequence of arrays belongs", value
    dtype = np.dtype(field.dtype)
    if field.levels == 1:
        problem = _array_problem(value, dtype, field.shape, ragged=True)
        return problem, value if problem else np.asarray(value, order="C")
    for part in value:  # there may be a hundred: what is as it should be costs no call
        as_declared = type(part) is np.ndarray and part.dtype == dtype and part.shape[1:] == field.shape
        if not (as_declared and part.ndim):
            problem = _array_problem(part, dtype, field.shape, ragged=True)
            if problem:
                return problem, value
    contiguous = all(part.flags.c_contiguous for part in value)
    return "", tuple(value) if contiguous else tuple(np.asarray(part, order="C") for part in value)


def _array_problem(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...], ragged: bool) -> str:
    """Say how an array is not what was declared, or nothing."""
    if not isinstance(value, np.ndarray | np.generic):
        return f"a {type(value).__name__} where an array belongs"
    found = value.shape[1:] if ragged else value.shape
    if value.dtype != dtype or found != shape or (ragged and value.ndim == 0):
        return f"{value.dtype} {value.shape} where {dtype} {('n', *shape) if ragged else shape} belongs"
    return ""
