"""Samples of raw files as the stages and as OnlineDataset give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ocr.datasets import DatasetConfig
from ocr.datasets.online import OnlineParams
from ocr.preprocess import DecodeParams
from ocr.splits import AnnotatedSplit
from pipeline.files import checksum
from pipeline.maintenance import compute_chain
from stages import Canonicalize, Decode, Maps, Tensors

CANVAS = (96, 64)
PARAMS = OnlineParams(decode=DecodeParams(canvas=CANVAS))
COUNT = 6


def config(raw: Path, **switches: Any) -> DatasetConfig:
    return DatasetConfig(image_path=raw / "img", annotation_path=raw / "box", **switches)


def staged(raw: Path) -> list[dict[str, Any]]:
    """What the stages give for each sample."""
    stages = (Canonicalize(), Decode(canvas=CANVAS), Maps(canvas=CANVAS), Tensors(canvas=CANVAS))
    samples = AnnotatedSplit(str(raw / "img"), str(raw / "box")).samples(
        lambda path: bytes.fromhex(checksum(path)[1])
    )
    return [dict(compute_chain(stages, sample)["tensors"]) for sample in samples]


def assert_equal(found: Any, expected: Any) -> None:
    """Compare samples and batches bit for bit, types included."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            if key != "sample_id":
                assert_equal(found[key], expected[key])
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, str):
        assert found == expected
    else:
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
