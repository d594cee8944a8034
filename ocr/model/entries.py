"""The entries of warmstore's own detectors, named by entry points in `pyproject.toml`."""

from __future__ import annotations

from typing import Any

from ocr.detectors import Detector
from ocr.params import DBNetParams, OnnxParams


def _dbnet(params: DBNetParams) -> Any:
    """Build DBNet in the memory layout that its convolutions are fastest in."""
    import torch

    from ocr.model.dbnet import DBNet

    return DBNet(params).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs


def _onnx(params: OnnxParams) -> Any:
    from ocr.model.onnx_network import OnnxNetwork

    return OnnxNetwork(params)


DBNET = Detector(DBNetParams, _dbnet, starts_from=("pretrained",))
ONNX = Detector(OnnxParams, _onnx, reads="pixels", ready=True)
