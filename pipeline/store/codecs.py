"""Bytes of a chunk: raw, or by a codec that every Zarr v3 reader knows.

A chunk without a codec is the array's own little-endian bytes in C order, so that its file can be
mapped. `lz4` is Zarr's `blosc` codec with LZ4 inside, since plain LZ4 has no Zarr v3 specification.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.stage import Codec

_ZSTD_LEVEL = 1
_LZ4_LEVEL = 5

CODEC_METADATA: dict[Codec, list[dict[str, Any]]] = {
    "none": [],
    "zstd": [{"name": "zstd", "configuration": {"level": _ZSTD_LEVEL, "checksum": False}}],
    "lz4": [
        {
            "name": "blosc",
            "configuration": {
                "cname": "lz4",
                "clevel": _LZ4_LEVEL,
                "shuffle": "noshuffle",
                "typesize": 1,
                "blocksize": 0,
            },
        }
    ],
}


def encode(codec: Codec, array: NDArray[Any]) -> bytes | memoryview:
    """Encode a C-contiguous little-endian array as the bytes of one chunk."""
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    if codec == "none":
        return raw
    return bytes(_numcodec(codec).encode(raw))


def decode(codec: Codec, data: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Decode one chunk; the array is read-only.

    Raises ValueError where the bytes are no such chunk, whatever the codec's library raises.
    """
    if codec != "none":
        try:
            data = _numcodec(codec).decode(data)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"the bytes are no {codec} chunk ({error})") from error
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if len(data) != expected:
        raise ValueError(f"the chunk holds {len(data)} bytes where {expected} belong")
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    array.flags.writeable = False
    return array


def codec_versions() -> dict[str, str]:
    """Give the versions of the libraries that decide a compressed chunk's bytes, though not its values."""
    import numcodecs
    from numcodecs import blosc, zstd

    versions = {
        "numcodecs": numcodecs.__version__,
        "zstd": zstd.VERSION_NUMBER,
        "blosc": blosc.VERSION_STRING,
    }
    return {name: str(version) for name, version in versions.items()}


@cache
def _numcodec(codec: Codec) -> Any:
    import numcodecs

    if codec == "zstd":
        return numcodecs.Zstd(level=_ZSTD_LEVEL)
    return numcodecs.Blosc(cname="lz4", clevel=_LZ4_LEVEL, shuffle=numcodecs.Blosc.NOSHUFFLE)
