"""Zarr v3 metadata of a store, written as plain JSON: no reader needs more, and no writer less.

Names of the arrays: a field's own name, and for ragged fields `<name>_offsets` (sample → part or
item) and `<name>_part_offsets` (part → item).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.stage import Codec
from pipeline.store.codecs import CODEC_METADATA

MAX_CHUNKS = 4096


def samples_per_chunk(samples: int) -> int:
    """Smallest power of two that keeps a field at 4096 chunk files or fewer.

    A process may hold some 65,000 mappings (`vm.max_map_count`). Three generations of five fields stay below
    that, 61,440 at most: two splits, and one of them published anew. What has no room is read by copies.
    """
    count = 1
    while samples > count * MAX_CHUNKS:
        count *= 2
    return count


def array_metadata(
    shape: Sequence[int],
    dtype: str,
    chunk_shape: Sequence[int],
    dims: Sequence[str],
    codec: Codec = "none",
) -> dict[str, Any]:
    """Metadata of one array; `dtype` is a NumPy name, or `string`."""
    text = dtype == "string"
    if text:
        codecs: list[dict[str, Any]] = [{"name": "vlen-utf8"}]
    elif np.dtype(dtype).itemsize == 1:
        codecs = [{"name": "bytes"}]
    else:
        codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk_shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": "" if text else 0,
        "codecs": codecs + CODEC_METADATA[codec],
        "attributes": {},
        "dimension_names": list(dims),
        "storage_transformers": [],
    }


def group_metadata(attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the group, with that of its arrays consolidated: a reader opens one file."""
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": dict(attributes),
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": dict(arrays)},
    }


def dump(metadata: Mapping[str, Any]) -> bytes:
    """One spelling for equal metadata: sorted, indented for people."""
    return (json.dumps(metadata, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def chunk_key(index: int, dimensions: int) -> str:
    """Name of the file of chunk `index` along the first axis."""
    return f"c.{index}" + ".0" * (dimensions - 1)


def encode_text(values: Iterable[str]) -> bytes:
    """Encode strings as a `vlen-utf8` chunk: a count, then a length and the bytes of each, little-endian."""
    encoded = [value.encode() for value in values]
    parts = [struct.pack("<I", len(encoded))]
    for item in encoded:
        parts += (struct.pack("<I", len(item)), item)
    return b"".join(parts)


def decode_text(data: bytes) -> list[str]:
    """Decode a `vlen-utf8` chunk.

    Raises ValueError where the bytes are no such chunk.
    """
    try:
        (count,) = struct.unpack_from("<I", data)
        values, at = [], 4
        for _ in range(count):
            (length,) = struct.unpack_from("<I", data, at)
            at += 4
            if at + length > len(data):
                raise ValueError("a string runs past the end of the chunk")
            values.append(data[at : at + length].decode())
            at += length
    except struct.error as error:
        raise ValueError(f"the bytes are no vlen-utf8 chunk ({error})") from error
    return values
