"""Images that a data set holds twice: by their bytes, and by how they look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.store import Store
from warmstore.report.facts import NearPair, Twins

_SIDE, _OVERSAMPLED = 16, 4
BITS = _SIDE * _SIDE
NEAR = 32
"""Bits of `BITS` that may differ. Among 209 receipts two unrelated ones differ in 124 (median); a receipt
scaled to half, saved as JPEG of quality 40, or turned by a degree differs from itself in 2, 4 and 26."""
_ROWS = 1024

Hash = NDArray[np.bool_]


def twins(stores: Mapping[str, Store]) -> Sequence[Twins]:
    """Find the samples of canonical stores whose upright files are equal, within splits and between them.

    Raises StoreError where a store is damaged.
    """
    found: dict[bytes, list[tuple[str, str]]] = {}
    for split, store in stores.items():
        for checksum, sample_id in zip(store.checksums("upright"), store.sample_ids, strict=True):
            found.setdefault(checksum.tobytes(), []).append((split, sample_id))
    return [Twins(tuple(samples)) for samples in found.values() if len(samples) > 1]


def perceptual_hash(image: NDArray[np.uint8]) -> Hash:
    """Hash how an RGB image (3, H, W) looks: 256 bits that hardly change with size, codec or exposure.

    The low frequencies of a discrete cosine transform, held against their median (Zauner, "Implementation
    and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2), 16 × 16 of them.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
    side = _SIDE * _OVERSAMPLED
    small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_SIDE, :_SIDE]
    return np.asarray(low > np.median(low)).ravel()


def near_pairs(
    hashes: Mapping[str, Mapping[str, Hash]], known: Sequence[Twins] = (), most: int = NEAR
) -> list[NearPair]:
    """Pair the samples of different splits whose hashes differ in at most `most` bits, the nearest first.

    `hashes` by split and sample. Pairs that are `known` to be equal are left out.
    """
    equal = {pair for one in known for pair in combinations(one.samples, 2)}
    found = [
        NearPair((a, first), (b, second), distance)
        for a, b in combinations(hashes, 2)
        for first, second, distance in _near(hashes[a], hashes[b], most)
        if ((a, first), (b, second)) not in equal
    ]
    return sorted(found, key=lambda pair: (pair.distance, pair.first, pair.second))


def _near(first: Mapping[str, Hash], second: Mapping[str, Hash], most: int) -> Iterator[tuple[str, str, int]]:
    """Compare all with all as one product of matrices: bits as ±1 agree in (256 + a · b) / 2."""
    if not first or not second:
        return
    names, others = list(first), list(second)
    columns = _signs(second).T
    for start in range(0, len(names), _ROWS):
        rows = dict(list(first.items())[start : start + _ROWS])
        distances = ((BITS - _signs(rows) @ columns) / 2).astype(int)
        for row, column in np.argwhere(distances <= most).tolist():
            yield names[start + row], others[column], int(distances[row, column])


def _signs(hashes: Mapping[str, Hash]) -> NDArray[np.float32]:
    return np.stack(list(hashes.values())).astype(np.float32) * 2 - 1
