"""Small stores for tests, written by hand as docs/explanation/store-format.md describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import checksum
from pipeline.stage import Chunked, Field, Ragged, Row, field_as_json
from pipeline.store import (
    FORMAT_VERSION,
    MANIFEST,
    Manifest,
    Parts,
    array_metadata,
    chunk_key,
    dump,
    encode,
    encode_text,
    group_metadata,
    value_digest,
)

Values = dict[str, Any]


def fields(height: int, width: int, codec: Any = "none") -> tuple[Field, ...]:
    """Declare the fields of `tensors.zarr` on a canvas."""
    maps = [
        ("prob_map", "uint8"),
        ("prob_mask", "uint8"),
        ("thresh_map", "float16"),
        ("thresh_mask", "uint8"),
    ]
    return (
        Chunked("image", "uint8", (3, height, width), codec),
        *(Chunked(name, dtype, (1, height, width), codec) for name, dtype in maps),
        Row("matrix", "float64", (3, 3)),
        Row("size", "int32", (2,)),
        Ragged("points", "float32", (2,), levels=2),
        Ragged("ignore", "uint8"),
        Ragged("text", "uint8", levels=2),
    )


def sample(index: int, height: int, width: int) -> Values:
    """Make a sample that differs from every other, with `index % 4` polygons."""
    rng = np.random.default_rng(index)
    maps = {
        name: rng.integers(0, 2, (1, height, width), dtype=np.uint8)
        for name in ("prob_map", "prob_mask", "thresh_mask")
    }
    count = index % 4
    return {
        **maps,
        "image": rng.integers(0, 256, (3, height, width), dtype=np.uint8),
        "thresh_map": rng.random((1, height, width)).astype(np.float16),
        "matrix": np.array([[0.5, 0, index], [0, 0.25, 0], [0, 0, 1]]),
        "size": np.array([height * 2, width * 4 + index], np.int32),
        "points": tuple(rng.random((4 + part, 2)).astype(np.float32) for part in range(count)),
        "ignore": np.arange(count, dtype=np.uint8) % 2,
        "text": tuple(np.frombuffer(f"über {part}".encode(), np.uint8) for part in range(count)),
    }


def _digest(field: Field, value: Any) -> bytes:
    ragged = isinstance(field, Ragged) and field.levels == 2
    return value_digest(field, Parts.join(value, field) if ragged else value)


def write_store(
    path: Path,
    samples: list[Values],
    declared: tuple[Field, ...],
    samples_per_chunk: int = 1,
    attributes: Mapping[str, Any] | None = None,
    sample_ids: Sequence[str] | None = None,
) -> Path:
    """Write a store: a symlink at `path` to a generation beside it."""
    generation = path.parent / ".generations" / path.stem / "000001-test"
    generation.mkdir(parents=True)
    arrays: dict[str, Any] = {}

    def stack(values: list[Any], field: Chunked | Row) -> np.ndarray:
        return np.array(values, field.dtype).reshape(len(values), *field.shape)

    def add(name: str, values: np.ndarray, chunk: int | None = None, codec: Any = "none") -> None:
        chunk = chunk or max(1, len(values))
        names = [f"{name}_{axis}" for axis in range(values.ndim)]
        arrays[name] = array_metadata(
            values.shape, str(values.dtype), (chunk, *values.shape[1:]), names, codec
        )
        (generation / name).mkdir()
        for number, first in enumerate(range(0, len(values), chunk)):
            padded = np.zeros((chunk, *values.shape[1:]), values.dtype)
            part = values[first : first + chunk]
            padded[: len(part)] = part
            (generation / name / chunk_key(number, values.ndim)).write_bytes(encode(codec, padded))

    for field in declared:
        values = [sample[field.name] for sample in samples]
        if isinstance(field, Chunked):
            add(field.name, stack(values, field), samples_per_chunk, field.codec)
        elif isinstance(field, Row):
            add(field.name, stack(values, field))
        elif isinstance(field, Ragged):
            _add_ragged(add, field, values)
    checks = [[np.frombuffer(_digest(field, s[field.name]), np.uint8) for field in declared] for s in samples]
    add("checksum", np.array(checks, np.uint8).reshape(len(samples), len(declared), 16))
    add("fingerprint", np.zeros((len(samples), 16), np.uint8))
    arrays["sample_id"] = array_metadata((len(samples),), "string", (max(1, len(samples)),), ["sample"])
    (generation / "sample_id").mkdir()
    names = sample_ids or [f"folder/{index:05}.jpg" for index in range(len(samples))]
    (generation / "sample_id" / "c.0").write_bytes(encode_text(names))
    for name, metadata in arrays.items():
        (generation / name / "zarr.json").write_bytes(dump(metadata))
    described = {
        "format_version": FORMAT_VERSION,
        "stage": "tensors",
        "recipe": {"stage": "tensors", "version": 1, "parameters": {}, "libraries": {}, "upstream": {}},
        "fields": [field_as_json(field) for field in declared],
        "inputs": [],
        "samples_per_chunk": samples_per_chunk,
        "counts": {"listed": len(samples), "accepted": len(samples), "quarantined": 0},
        "quarantined": [],
        "tallies": {},
        "mean": [0.5, 0.25, 0.125],
        "std": [0.5, 0.25, 0.2],
        **(attributes or {}),
    }
    (generation / "zarr.json").write_bytes(dump(group_metadata(described, arrays)))
    write_manifest(generation)
    path.symlink_to(generation)
    return path


def write_manifest(generation: Path) -> None:
    """Write the manifest of the files that a generation has now."""
    files = sorted(file for file in generation.rglob("*") if file.is_file() and file.name != MANIFEST)
    entries = {file.relative_to(generation).as_posix(): checksum(file) for file in files}
    (generation / MANIFEST).write_bytes(Manifest(entries).dump())


def _add_ragged(add: Any, field: Ragged, values: list[Any]) -> None:
    if field.levels == 2:
        parts = [part for value in values for part in value]
        add(f"{field.name}_part_offsets", np.cumsum([0, *map(len, parts)]).astype(np.int64))
    else:
        parts = values
    empty = np.empty((0, *field.shape), field.dtype)
    add(field.name, np.concatenate([empty, *parts]))
    add(f"{field.name}_offsets", np.cumsum([0, *map(len, values)]).astype(np.int64))


def tensors_store(
    folder: Path,
    count: int,
    canvas: tuple[int, int] = (64, 64),
    samples_per_chunk: int = 1,
    codec: Any = "none",
    **attributes: Any,
) -> Path:
    """Write `tensors.zarr` in a folder, of `count` samples as `sample` makes them."""
    samples = [sample(index, *canvas) for index in range(count)]
    return write_store(
        folder / "tensors.zarr", samples, fields(*canvas, codec), samples_per_chunk, attributes
    )
