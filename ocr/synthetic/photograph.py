"""Photograph a printed sheet: lay it askew on a table, light it unevenly, blur it, add noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

# OpenCV puts pixel centres at whole numbers; points here have pixel corners at whole numbers.
_CENTRES = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


def photograph(
    rng: np.random.Generator, ink: Plane, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Photograph a sheet whose `ink` is a mask (H', W'), float32 from 0 (paper) to 1 (ink).

    Gives the photo, uint8 RGB (H, W, 3) for `size` = (H, W), and the homography sheet → photo,
    float64 (3, 3), for points whose whole numbers are pixel corners.
    """
    height, width = size
    to_photo = _homography(rng, ink.shape, size)
    sheet = np.stack([ink, np.ones_like(ink), 1 + _texture(rng, ink.shape, 0.05)], axis=-1)
    warp = np.linalg.inv(_CENTRES) @ to_photo @ _CENTRES
    inked, alpha, crease = cv2.split(
        cv2.warpPerspective(sheet, warp, (width, height), flags=cv2.INTER_LINEAR)
    )

    table = _colour(rng, 0.1, 0.5) + rng.uniform(0, 0.3)
    paper = _colour(rng, 0.9, 1.0) * rng.uniform(0.78, 0.97)
    black = _colour(rng, 0.05, 0.4)
    grain, light = 1 + _texture(rng, size, 0.25), _light(rng, size)
    noise = rng.standard_normal(size, np.float32) * np.float32(rng.uniform(0.005, 0.02))
    blur = rng.uniform(0.4, 1.0) * height / 1152
    planes = []
    for channel in range(3):
        ground = table[channel] * grain
        plane = (paper[channel] - (paper[channel] - black[channel]) * inked) * crease
        plane = (ground + (plane - ground) * alpha) * light
        plane = cv2.GaussianBlur(plane, (0, 0), blur) + noise
        planes.append(np.rint(plane.clip(0, 1) * 255).astype(np.uint8))
    return cast(NDArray[np.uint8], cv2.merge(planes)), to_photo


def _homography(rng: np.random.Generator, sheet: Sequence[int], size: tuple[int, int]) -> NDArray[np.float64]:
    """Turn the sheet by up to 7°, pull its corners a little, and place it wholly inside the photo."""
    (height, width), photo = sheet, np.array(size[::-1], np.float64)
    flat = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    angle = math.radians(rng.uniform(-7, 7))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = (flat - flat.mean(0)) @ turn.T + rng.uniform(-0.02, 0.02, (4, 2)) * width
    corners *= min(1.0, float((0.98 * photo / np.ptp(corners, axis=0)).min()))
    corners += rng.uniform(0.3, 0.7, 2) * (photo - np.ptp(corners, axis=0)) - corners.min(0)
    to_photo = cv2.getPerspectiveTransform(flat.astype(np.float32), corners.astype(np.float32))
    return np.asarray(to_photo, np.float64)


def _colour(rng: np.random.Generator, low: float, high: float) -> Plane:
    return rng.uniform(low, high, 3).astype(np.float32)


def _texture(rng: np.random.Generator, shape: Sequence[int], strength: float) -> Plane:
    """Smooth noise of three sizes around 0, float32 of `shape`."""
    texture = np.zeros(tuple(shape), np.float32)
    for cells in (3, 17, 120):
        grid = rng.standard_normal((cells, cells), np.float32) * np.float32(strength / 3)
        texture += cv2.resize(grid, (shape[1], shape[0]))
    return texture


def _light(rng: np.random.Generator, size: tuple[int, int]) -> Plane:
    """A gradient of light with the soft edge of one shadow, float32 (H, W) around 1."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in size)
    slope, edge = rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi)
    gradient = 1 + rng.uniform(0, 0.18) * (math.sin(slope) * y[:, None] + math.cos(slope) * x)
    distance = math.sin(edge) * y[:, None] + math.cos(edge) * x - rng.uniform(-0.3, 0.7)
    shadow = rng.uniform(0, 0.4) / (1 + np.exp(distance / -rng.uniform(0.03, 0.2)))
    return cast(Plane, gradient * (1 - shadow))
