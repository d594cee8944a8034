"""Light augmentation of a batch of cached pixels, on whatever device they are.

Each sample is warped by one affine matrix A, canvas → augmented canvas: pixels, and the polygons from
which its maps are built anew. Polygons stay in the upright frame; `inverse_matrix` leads back to it.
What is drawn depends on the seed, the epoch and the sample's id alone, so it is the same in any batch,
in any order and after a resumed training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ocr.geometry import Size, transform_points
from ocr.maps import MapParams, build_maps
from ocr.params import AugmentParams

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """A change of one sample: `matrix` float64 (3, 3), canvas → augmented canvas; gain · pixel ** gamma."""

    matrix: Matrix
    gain: tuple[float, float, float]
    gamma: float


def augment(
    batch: Mapping[str, Any], params: AugmentParams, maps: MapParams, *, seed: int, epoch: int
) -> dict[str, Any]:
    """Give a changed copy of a batch; nothing in `batch` is written to.

    `images` must be floating (B, 3, H, W) in 0…1, and stay so; with a crop of side s all images and
    maps become s × s. Maps come out as `build_maps` gives them, on the device of the images.
    """
    images: Tensor = batch["images"]
    inverse = np.asarray(batch["inverse_matrix"], np.float64)
    forward = np.linalg.inv(inverse)
    canvas = images.shape[-2], images.shape[-1]
    target = canvas if params.crop is None else (params.crop, params.crop)
    draws = [
        draw(params, _generator(seed, epoch, sample_id), extent=_extent(matrix, size), target=target)
        for sample_id, matrix, size in zip(batch["sample_id"], forward, batch["size"].tolist(), strict=True)
    ]
    changes = np.stack([change.matrix for change in draws])
    return {
        **batch,
        "images": recolour(warp(images, changes, target), draws),
        "inverse_matrix": torch.from_numpy(inverse @ np.linalg.inv(changes)),
        **_maps(batch, changes @ forward, target, maps, images.device),
    }


def draw(
    params: AugmentParams, rng: np.random.Generator, *, extent: tuple[float, float], target: Size
) -> Draw:
    """Draw a change for an image that covers (0, 0) to `extent` (x, y) of its canvas.

    The window of `target` (height, width) lies inside the image where the image is larger, and holds
    all of it where it is smaller (but for what a rotation moves out).
    """
    mirror = -1.0 if rng.random() < params.flip else 1.0
    angle = math.radians(rng.uniform(-params.rotation, params.rotation))
    scale = math.exp(rng.uniform(math.log(params.scale_min), math.log(params.scale_max)))
    window = np.array(target[::-1]) / scale
    bounds = np.sort([window / 2, np.array(extent) - window / 2], axis=0)
    centre = rng.uniform(bounds[0], bounds[1])
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.array(target[::-1]) / 2 - linear @ centre
    red, green, blue, gamma = rng.uniform(1 - params.colour, 1 + params.colour, 4).tolist()
    return Draw(matrix, (red, green, blue), gamma)


def warp(images: Tensor, matrices: Matrix, target: Size) -> Tensor:
    """Resample floating images (B, C, H, W) to (B, C, *target), bilinear, with zeros outside.

    `matrices` (B, 3, 3) send a point of the source to the target, whole numbers being pixel corners.
    """
    source = images.shape[-2], images.shape[-1]
    sampling = _to_unit(source) @ np.linalg.inv(matrices) @ np.linalg.inv(_to_unit(target))
    theta = torch.from_numpy(sampling[:, :2]).to(images)
    grid = F.affine_grid(theta, [len(images), images.shape[1], *target], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def recolour(images: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Apply each sample's gain and gamma to images in 0…1; black, as in the padding, stays black."""
    gain = torch.tensor([change.gain for change in draws]).to(images)[:, :, None, None]
    gamma = torch.tensor([change.gamma for change in draws]).to(images)[:, None, None, None]
    return images.pow(gamma).mul_(gain).clamp_(0, 1)


def _generator(seed: int, epoch: int, sample_id: str) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, crc32(sample_id.encode())])


def _extent(matrix: Matrix, size: Sequence[int]) -> tuple[float, float]:
    """Where the image ends on the canvas: (x, y) of its lower right corner."""
    height, width = size
    ((x, y),) = transform_points(matrix, [(width, height)])
    return float(x), float(y)


def _to_unit(size: Size) -> Matrix:
    """Pixel → the coordinates of `grid_sample`: -1 and 1 are the outer edges of the image."""
    height, width = size
    return np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], np.float64)


def _maps(
    batch: Mapping[str, Any], matrices: Matrix, target: Size, params: MapParams, device: torch.device
) -> dict[str, Tensor]:
    built = [
        build_maps([transform_points(matrix, points) for points in polygons], ignore, *target, params)
        for matrix, polygons, ignore in zip(matrices, batch["polygons"], batch["ignore"], strict=True)
    ]
    fields: dict[str, list[NDArray[Any]]] = {
        "prob_maps": [maps.prob_map for maps in built],
        "prob_masks": [maps.prob_mask for maps in built],
        "thresh_maps": [maps.thresh_map for maps in built],
        "thresh_masks": [maps.thresh_mask for maps in built],
    }
    return {name: torch.from_numpy(np.stack(arrays)).to(device) for name, arrays in fields.items()}
