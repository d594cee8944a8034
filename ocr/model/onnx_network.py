"""A detector in a file of the ONNX format, run by onnxruntime: it is judged as it is, and learns nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ocr.detectors import DetectorOutput
from ocr.params import OnnxParams
from pipeline.errors import ConfigError
from pipeline.extras import extra

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxNetwork(nn.Module):
    """Pixels, float32 RGB (B, 3, H, W) in 0…1, to `DetectorOutput`, by a model that reads (B, 3, H, W).

    Raises ConfigError where onnxruntime is not installed, the file cannot be loaded, or the model has
    other inputs than one image, or no output of the name.
    """

    def __init__(self, params: OnnxParams) -> None:
        super().__init__()
        self.params = params
        self.session = _session(params.path)
        inputs, outputs = self.session.get_inputs(), [one.name for one in self.session.get_outputs()]
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            told = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise ConfigError(
                f"detector onnx: {params.path} reads {told}; a detector reads one tensor(float) (B, 3, H, W)"
            )
        if params.output is not None and params.output not in outputs:
            raise ConfigError(
                f"detector onnx: {params.path} has no output {params.output}, but {', '.join(outputs)}"
            )
        self.input, self.output = inputs[0], params.output or outputs[0]
        self._order = slice(None) if params.channels == "rgb" else slice(None, None, -1)
        self._mean = np.array(params.mean, np.float32).reshape(3, 1, 1)
        self._std = np.array(params.std, np.float32).reshape(3, 1, 1)

    def forward(self, images: Tensor) -> DetectorOutput:
        """Run the model on the host, whatever the device. ValueError where it reads another size."""
        pixels = images.detach().float().cpu().numpy()[:, self._order]
        values = (pixels * np.float32(255 * self.params.scale) - self._mean) / self._std
        self._check_size(values.shape)
        feeds = ({self.input.name: part} for part in self._parts(values))
        maps = np.concatenate([self.session.run([self.output], feed)[0] for feed in feeds])
        given = DetectorOutput if self.params.gives == "logits" else DetectorOutput.from_probabilities
        return given(torch.from_numpy(maps).to(images.device))

    def _parts(self, values: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Cut a batch where the model reads batches of a fixed size."""
        size = self.input.shape[0]
        size = size if isinstance(size, int) else len(values)
        yield from (values[start : start + size] for start in range(0, len(values), size))

    def _check_size(self, shape: tuple[int, ...]) -> None:
        fixed = self.input.shape[1:]
        if any(isinstance(side, int) and side != given for side, given in zip(fixed, shape[1:], strict=True)):
            wanted, given = (" × ".join(map(str, sides)) for sides in (fixed, shape[1:]))
            raise ValueError(f"{self.params.path} reads images of {wanted}, not {given}: set canvas to match")


def _session(path: str) -> Any:
    with extra("onnx", "detector onnx"):
        import onnxruntime
    if not Path(path).is_file():
        raise ConfigError(f"detector onnx: there is no file {path}; set model.params.path to a model's")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors: warnings on a model's operators help nobody here
    known = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(path, options, [one for one in _PROVIDERS if one in known])
    except Exception as error:  # onnxruntime raises classes of its own, which it does not export
        raise ConfigError(
            f"detector onnx: {path} cannot be loaded: {' '.join(str(error).split())}"
        ) from error
