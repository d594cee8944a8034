"""Values of fields: checked against their declaration, named by their content.

A value is a few runs of raw bytes, its parts: little-endian in C order, UTF-8, or, where the value
is a sequence of arrays, their lengths and then their items end to end. Parts are what is digested,
recorded and stored. The digest is what a downstream stage knows of the value, and what a stored
value is verified against; so it covers the value alone, not how it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.digest import digest
from pipeline.errors import PipelineError
from pipeline.stage import Field, File, FileContent, Ragged, Stage, Text

Bytes = bytes | memoryview


class Parts(tuple[NDArray[Any], ...]):
    """A checked value of a Ragged field with `levels=2`: arrays (M_j, *shape), end to end in `items`."""

    items: NDArray[Any]

    @classmethod
    def of(cls, parts: Iterable[NDArray[Any]], items: NDArray[Any]) -> Parts:
        """Put the parts beside the array that holds them all."""
        value = cls(parts)
        value.items = items
        return value

    @classmethod
    def join(cls, parts: Sequence[NDArray[Any]], field: Ragged) -> Parts:
        """Lay parts end to end. Raises TypeError or ValueError where they are not of the field's type."""
        none = np.empty((0, *field.shape), field.dtype)
        return cls.of(parts, np.concatenate((none, *parts), dtype=field.dtype, casting="no"))


def check_field_names(
    stage: Stage, fields: Sequence[Field], sample_id: str, outputs: Mapping[str, Any]
) -> None:
    """Raise PipelineError where a stage gave other fields than it declares."""
    names = [field.name for field in fields]
    if outputs.keys() != set(names):
        raise PipelineError(
            f"stage {stage.name} gave the fields {sorted(outputs)} for {sample_id} "
            f"where it declares {sorted(names)}; mend its compute()"
        )


def check_values(
    stage: Stage, fields: Sequence[Field], sample_id: str, outputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Hold what a stage gave for some fields against their declaration; arrays become contiguous.

    Raises PipelineError naming stage, sample and field: the stage's code is wrong, not the data.
    """
    checked = {}
    for field in fields:
        value = outputs[field.name]
        problem, value = _check(field, value)
        if problem:
            raise PipelineError(
                f"stage {stage.name} gave {problem} for field {field.name} of {sample_id}; "
                "mend its compute() or what fields() declares"
            )
        checked[field.name] = value
    return checked


def value_parts(field: Field, value: Any) -> tuple[Bytes, ...]:
    """Give a checked value as raw bytes: (lengths int64, items) for `levels=2`, one run for all others."""
    if isinstance(field, Text):
        return (value.encode(),)
    if isinstance(field, File):
        return (value.data,)
    if isinstance(value, Parts):
        return (np.fromiter(map(len, value), np.int64, len(value)).data, value.items.data)
    return (value.data,)


def value_digest(field: Field, value: Any) -> bytes:
    """Digest of a checked value: 16 bytes."""
    return digest(*value_parts(field, value))


def item_bytes(field: Ragged) -> int:
    """Bytes of one item of a Ragged field."""
    return int(np.dtype(field.dtype).itemsize * np.prod(field.shape, dtype=np.int64))


def _check(field: Field, value: Any) -> tuple[str, Any]:
    """Give a problem in words (or nothing) and the value in its canonical form."""
    if isinstance(field, Text):
        return ("", value) if isinstance(value, str) else (f"a {type(value).__name__}", value)
    if isinstance(field, File):
        return ("", value) if isinstance(value, FileContent) else (f"a {type(value).__name__}", value)
    dtype, ragged = np.dtype(field.dtype), isinstance(field, Ragged)
    if not isinstance(field, Ragged) or field.levels == 1:
        problem = _array_problem(value, dtype, field.shape, ragged)
        return problem, value if problem else np.asarray(value, order="C")
    if not isinstance(value, Sequence):
        return f"a {type(value).__name__} where a sequence of arrays belongs", value
    if isinstance(value, Parts) and value.items.dtype == dtype and value.items.shape[1:] == field.shape:
        return "", value  # as it was read
    if all(isinstance(part, np.ndarray) for part in value):
        with suppress(TypeError, ValueError):
            return "", Parts.join(value, field)
    problems = (_array_problem(part, dtype, field.shape, ragged=True) for part in value)
    return next(filter(None, problems)), value


def _array_problem(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...], ragged: bool) -> str:
    """Say how an array is not what was declared, or nothing."""
    if not isinstance(value, np.ndarray | np.generic):
        return f"a {type(value).__name__} where an array belongs"
    found = value.shape[1:] if ragged else value.shape
    if value.dtype != dtype or found != shape or (ragged and value.ndim == 0):
        return f"{value.dtype} {value.shape} where {dtype} {('n', *shape) if ragged else shape} belongs"
    return ""
