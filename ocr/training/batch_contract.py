"""What a batch must be: held against the first one of a run, so that no step has to look again.

| key | dtype | shape | values |
| --- | --- | --- | --- |
| `images` | uint8, or floating | (B, 3, H, W), the canvas | any; floating ones normalised with mean and std |
| `prob_maps`, `prob_masks`, `thresh_masks` | uint8, bool, or floating | (B, 1, H, W) | 0…1 |
| `thresh_maps` | floating | (B, 1, H, W) | 0…1 |
| `inverse_matrix` | float64 | (B, 3, 3) | affine and invertible |
| `size` | int32 | (B, 2) | at least 1 |
| `polygons`, `ignore` | float32 (P, 2); any flags | a list for each sample, equally long | finite |
| `sample_id` | str | one for each sample | |
| `text` (if there) | str | a list for each sample, as long as `polygons` | |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ocr.detectors import DetectorIdentity
from pipeline.errors import PipelineError

_FLAGS = (torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float32)
_FLOATING = (torch.float16, torch.bfloat16, torch.float32)
_MAPS = {"prob_maps": _FLAGS, "prob_masks": _FLAGS, "thresh_maps": _FLOATING, "thresh_masks": _FLAGS}
_ROUNDING = 0.02
"""How far normalised pixels may lie outside what black and white give: bfloat16 has 8 bits."""


def check_batch(
    batch: Mapping[str, Any],
    identity: DetectorIdentity,
    maps: bool = True,
    truth: bool = True,
) -> None:
    """Raise PipelineError that names every entry at fault, what it is, and what it must be.

    `maps`: whether the four maps must be there (training that draws its own reads none); `truth`: whether
    polygons must (prediction reads none).
    """
    problems = list(_problems(batch, identity, maps, truth))
    if problems:
        names = ", ".join(map(str, list(batch.get("sample_id", ()))[:3])) or "no sample_id"
        raise PipelineError(
            f"the first batch ({names}, …) is not what the detector reads: {'; '.join(problems)}; "
            "ocr/training/batch_contract.py says what a batch must be"
        )


def _problems(batch: Mapping[str, Any], identity: DetectorIdentity, maps: bool, truth: bool) -> Iterator[str]:
    wanted = ["images", *(_MAPS if maps else ()), "inverse_matrix", "size"]
    lists = [*(("polygons", "ignore") if truth else ()), "sample_id"]
    missing = [name for name in (*wanted, *lists) if name not in batch]
    if missing:
        yield f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        return
    no_tensor = [name for name in wanted if not isinstance(batch[name], Tensor)]
    if no_tensor:
        yield f"{', '.join(no_tensor)} must be torch tensors"
        return

    count = len(batch["sample_id"])
    images = batch["images"]
    yield from _layout("images", images, (count, 3, *identity.canvas), (torch.uint8, *_FLOATING))
    if images.is_floating_point():
        black, white = ((value - m) / s for value, m, s in _extremes(identity.mean, identity.std))
        yield from _range("images (normalised)", images, black - _ROUNDING, white + _ROUNDING)
    for name, dtypes in _MAPS.items() if maps else ():
        yield from _layout(name, batch[name], (count, 1, *identity.canvas), dtypes)
        yield from _range(name, batch[name], 0, 1)
    yield from _layout("inverse_matrix", batch["inverse_matrix"], (count, 3, 3), (torch.float64,))
    yield from _affine(batch["inverse_matrix"])
    yield from _layout("size", batch["size"], (count, 2), (torch.int32,))
    yield from _range("size", batch["size"], 1, np.inf)
    yield from _truth(batch, count)


def _extremes(mean: Sequence[float], std: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """The channels whose black and whose white lie furthest out, each as pixel value, mean, std."""
    channels = list(zip(mean, std, strict=True))
    yield (0.0, *min(channels, key=lambda channel: -channel[0] / channel[1]))
    yield (1.0, *max(channels, key=lambda channel: (1 - channel[0]) / channel[1]))


def _layout(
    name: str, values: Tensor, shape: tuple[int, ...], dtypes: Sequence[torch.dtype]
) -> Iterator[str]:
    if tuple(values.shape) != shape:
        yield f"{name} has the shape {tuple(values.shape)}, not {shape}"
    if values.dtype not in dtypes:
        known = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        yield f"{name} is {str(values.dtype).removeprefix('torch.')}, not {known}"


def _range(name: str, values: Tensor, low: float, high: float) -> Iterator[str]:
    if not values.numel():
        return
    least, most = (float(extreme) for extreme in torch.aminmax(values))  # NaN is both
    if not np.isfinite([least, most]).all():
        yield f"{name} holds NaN or infinity"
    elif least < low or most > high:
        yield f"{name} lies in {least:g}…{most:g}, outside {low:g}…{high:g}"


def _affine(matrices: Tensor) -> Iterator[str]:
    values = matrices.cpu().double().numpy()
    if values.ndim != 3 or values.shape[1:] != (3, 3):
        return  # said already
    if not np.isfinite(values).all():
        yield "inverse_matrix holds NaN or infinity"
    elif not (values[:, 2] == (0, 0, 1)).all() or not np.linalg.det(values).all():
        yield "inverse_matrix is not affine and invertible"


def _truth(batch: Mapping[str, Any], count: int) -> Iterator[str]:
    names = [name for name in ("polygons", "ignore", "text") if name in batch]
    lengths = {name: len(batch[name]) for name in names if len(batch[name]) != count}
    if lengths:
        yield f"{count} samples, but {', '.join(f'{n} of {name}' for name, n in lengths.items())}"
        return
    for i, sample_id in enumerate(batch["sample_id"]):
        if not isinstance(sample_id, str):
            yield f"sample_id {sample_id!r} is no string"
        values = {name: batch[name][i] for name in names}
        for polygon in values.get("polygons", ()):
            points = np.asarray(polygon)
            if points.ndim != 2 or points.shape[1] != 2 or points.dtype != np.float32:
                yield f"a polygon of {sample_id} is {points.dtype} {points.shape}, not float32 (P, 2)"
            elif not np.isfinite(points).all():
                yield f"a polygon of {sample_id} holds NaN or infinity"
        sizes = {name: len(value) for name, value in values.items()}
        if len(set(sizes.values())) > 1:
            yield f"{sample_id} has {', '.join(f'{n} {name}' for name, n in sizes.items())}"
