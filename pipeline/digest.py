"""Names for content: xxh3-128 over canonical bytes.

xxh3 runs at memory speed and tells accidental differences apart; it is no defence against somebody
who constructs a collision on purpose, and nothing here relies on that.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    from typing_extensions import Buffer

DIGEST_BYTES = 16


def digest(*parts: Buffer) -> bytes:
    """Digest of the concatenation of `parts`: 16 bytes."""
    if len(parts) == 1:
        return xxhash.xxh3_128_digest(parts[0])
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return state.digest()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> bytes:
    """One spelling for equal JSON values: sorted keys, no spaces, UTF-8, no NaN."""
    return _CANONICAL.encode(value).encode()
