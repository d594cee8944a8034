"""What a network must give: held against its first output, so that no step has to look again.

| of `DetectorOutput` | dtype | shape |
| --- | --- | --- |
| `prob_logits` | floating | (B, 1, H, W), as large as the images |
| `thresh_logits`, or None | floating | the same |
| `extra_logits`, or None | floating | (B, K, H, W) |

NaN is looked for in every output, by the loss and before decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ocr.detectors import DetectorOutput
from pipeline.errors import PipelineError


def ran(detector: str, network: Callable[[Any], Any], batch: Any, sample_ids: Sequence[str]) -> Any:
    """Run a network on images (B, …), or on a batch of named values of which each has B.

    Where it raises, PipelineError names the first sample with which alone it does.
    """
    try:
        return network(batch)
    except Exception as error:  # whatever the network's own code raises
        failed, cause = ", ".join(sample_ids), error
        for index, sample_id in enumerate(sample_ids):
            try:
                network(_only(batch, index))
            except Exception as alone:
                failed, cause = sample_id, alone
                break
        raise PipelineError(
            f"detector {detector} failed on sample {failed}: {type(cause).__name__}: {cause}"
        ) from cause


def check_output(output: Any, detector: str, images: Tensor, sample_ids: Sequence[str]) -> None:
    """Raise PipelineError that names the detector, the samples, and everything that is wrong."""
    problems = list(_problems(output, images))
    if problems:
        raise PipelineError(
            f"the first output of detector {detector} ({', '.join(sample_ids[:3])}, …) is not what decoder "
            f"and loss read: {'; '.join(problems)}; ocr/training/output_contract.py says what it must be"
        )


def _only(batch: Any, index: int) -> Any:
    if isinstance(batch, Mapping):
        return {name: values[index : index + 1] for name, values in batch.items()}
    return batch[index : index + 1]


def _problems(output: Any, images: Tensor) -> Iterator[str]:
    if not isinstance(output, DetectorOutput):
        given = f"a {type(output).__name__}"
        if isinstance(output, Tensor):
            given += f" {tuple(output.shape)}"
        yield (
            f"it is {given}, not a DetectorOutput (DetectorOutput(logits), or "
            "DetectorOutput.from_probabilities(maps) after a sigmoid)"
        )
        return
    count, _, height, width = images.shape
    for name, values in output._asdict().items():
        if values is None and name != "prob_logits":
            continue
        if not isinstance(values, Tensor) or not values.is_floating_point():
            kind = str(values.dtype) if isinstance(values, Tensor) else type(values).__name__
            yield f"{name} is {kind}, not a floating tensor"
            continue
        channels = values.shape[1] if values.ndim == 4 and name == "extra_logits" else 1
        wanted = (count, channels, height, width)
        if tuple(values.shape) != wanted:
            yield f"{name} has the shape {tuple(values.shape)}, not {wanted}"
