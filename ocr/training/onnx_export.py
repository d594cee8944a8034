"""A detector as an ONNX file: what runs elsewhere is held against torch before it is written."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from ocr.detectors import DetectorIdentity
from ocr.params import DetectorSettings
from ocr.training.pixels import Pixels
from pipeline.errors import PipelineError
from pipeline.extras import extra
from pipeline.files import write_aside

INPUT, OUTPUT = "images", "maps"
TOLERANCE = 1e-4
"""The most that a probability may differ from torch's; kernels of other libraries round in other places."""
_STEP = 32


class Exportable(Protocol):
    """What an ONNX model is made of; a `DetectorModule` has it."""

    identity: DetectorIdentity
    settings: DetectorSettings
    model: nn.Module
    pixels: Pixels


@dataclass(frozen=True)
class Exported:
    """What was written: the shapes (B, H, W) that were compared, the largest difference of a probability."""

    compared: tuple[tuple[int, int, int], ...]
    difference: float
    bytes: int


def to_onnx(
    self: Exportable,
    file_path: str | os.PathLike[str] | BytesIO,
    input_sample: Tensor | None = None,
    **options: Any,
) -> Exported:
    """Write the detector as an ONNX model; a method of `DetectorModule`.

    It reads `images`, float32 (B, 3, H, W), and gives `maps`, float32 (B, 1 + K, H, W) in 0…1, the
    probability map first; B, H and W are free, H and W multiples of what the network asks for (32 for DBNet).
    The file's metadata say how images become its input and its maps boxes: see `metadata`. `input_sample`
    (B, 3, H, W) is what the network is traced with, a drawn one of the canvas otherwise; `options` are those
    of `torch.onnx.export`.

    Raises ConfigError where onnx or onnxruntime is not installed, PipelineError where the network cannot be
    traced, or the model gives other maps than torch; nothing is written then.
    """
    with extra("onnx", "writing ONNX"):
        import onnx
        import onnxruntime
    network = _Maps(copy.deepcopy(self.model)).float().cpu().eval()
    sample = _drawn(self, 1, *self.identity.canvas) if input_sample is None else input_sample.float().cpu()
    buffer = BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # on constants that a trace keeps: what it gives is compared
            # The exporter by tracing: torch's newer one takes ten times as long and a package of its own.
            torch.onnx.export(network, (sample,), cast(Any, buffer), **{**_options(), **options})
    except Exception as error:  # whatever the network or the exporter meets
        raise PipelineError(
            f"detector {self.identity.detector} cannot be traced for ONNX: {_one_line(error)}"
        ) from error
    model = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(model, metadata(self))
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    compared = [_difference(network, session, images) for images in (sample, *_others(self))]
    if isinstance(file_path, BytesIO):
        file_path.write(data)
    else:
        write_aside(Path(file_path), data)
    shapes = tuple(shape for shape, _ in compared)
    return Exported(shapes, max(difference for _, difference in compared), len(data))


def metadata(module: Exportable) -> dict[str, str]:
    """Say how images become the model's input, and its maps boxes; each value is JSON.

    Input: RGB on the `canvas` [height, width], as channels / 255, minus `mean`, divided by `std`. Boxes: the
    parameters of box decoding in `boxes`, and the `detector` with its own.
    """
    identity = module.identity.as_json()
    read = {"mean": [0.0] * 3, "std": [1.0] * 3} if module.pixels.reads_pixels else {}
    facts = {
        "detector": {"name": identity["detector"], "params": identity["params"]},
        "canvas": identity["canvas"],
        "channels": "rgb",
        "mean": identity["mean"],
        "std": identity["std"],
        **read,
        "boxes": module.settings.boxes.model_dump(mode="json"),
    }
    return {name: json.dumps(value) for name, value in facts.items()}


class _Maps(nn.Module):
    """A network that gives its maps in 0…1 as one tensor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.network(images).maps()
        return maps


def _options() -> dict[str, Any]:
    free = {0: "batch", 2: "height", 3: "width"}
    return {
        "dynamo": False,
        "opset_version": 17,
        "input_names": [INPUT],
        "output_names": [OUTPUT],
        "dynamic_axes": {INPUT: free, OUTPUT: free},
    }


def _others(module: Exportable) -> Iterator[Tensor]:
    """Images of another number and size than those that were traced: what a trace kept fixed shows there."""
    height, width = module.identity.canvas
    yield _drawn(module, 2, height + _STEP, max(_STEP, width // 2 // _STEP * _STEP))


def _drawn(module: Exportable, count: int, height: int, width: int) -> Tensor:
    """Draw input of (count, 3, height, width): patches of all greys, always the same."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 3, -(-height // 8), -(-width // 8)), np.uint8)
    pixels = coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, :height, :width]
    device = module.pixels.mean.device
    with torch.no_grad():
        images: Tensor = module.pixels(torch.from_numpy(pixels).to(device))
    return images.float().cpu()


def _difference(network: nn.Module, session: Any, images: Tensor) -> tuple[tuple[int, int, int], float]:
    """Compare one batch. Raises PipelineError where the model fails on it or gives other maps."""
    shape = len(images), images.shape[2], images.shape[3]
    told = "a batch of {} images of {} × {}".format(*shape)
    with torch.no_grad():
        wanted = network(images).numpy()
    try:
        (given,) = session.run([OUTPUT], {INPUT: images.numpy()})
    except Exception as error:  # onnxruntime raises classes of its own, which it does not export
        raise PipelineError(f"the ONNX model fails on {told}: {_one_line(error)}") from None
    if given.shape != wanted.shape:
        raise PipelineError(f"the ONNX model makes of {told} maps of {given.shape}, torch of {wanted.shape}")
    difference = float(np.abs(given - wanted).max())
    if not difference <= TOLERANCE:
        raise PipelineError(
            f"the ONNX model's maps of {told} differ by up to {difference:.2g} from torch's (at most "
            f"{TOLERANCE:g} is taken); nothing was written"
        )
    return shape, difference


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
