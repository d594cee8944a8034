"""Public implementations of DBNet's maps, as their wheels install them, without what they never use here.

    pip install --no-deps mindocr==0.5.0 paddleocr==2.10.0

MindOCR's package imports MindSpore, PaddleOCR's imports Paddle; the files that make the maps need neither,
so they are loaded by themselves.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ocr.maps import Maps

Polygons = Sequence[npt.NDArray[np.float64]]


def mindocr_maps(polygons: Polygons, height: int, width: int) -> Maps:
    """Draw with MindOCR's `ShrinkBinaryMap` and `BorderMap`."""
    transforms = _mindocr_transforms()
    data = _data(polygons, height, width)
    transforms.ShrinkBinaryMap()(data)
    transforms.BorderMap()(data)
    return _maps(data["binary_map"][0], data["mask"], data["thresh_map"], data["thresh_mask"])


def paddleocr_maps(polygons: Polygons, height: int, width: int) -> Maps:
    """Draw with PaddleOCR's `MakeShrinkMap` and `MakeBorderMap`."""
    data = _data(polygons, height, width)
    _paddleocr("make_shrink_map").MakeShrinkMap()(data)
    _paddleocr("make_border_map").MakeBorderMap()(data)
    return _maps(data["shrink_map"], data["shrink_mask"], data["threshold_map"], data["threshold_mask"])


INSTALLED = {
    name: draw
    for name, draw in {"MindOCR": mindocr_maps, "PaddleOCR": paddleocr_maps}.items()
    if find_spec(name.lower())
}
"""Those of them that are there to compare with."""


def _data(polygons: Polygons, height: int, width: int) -> dict[str, Any]:
    copies = [polygon.copy() for polygon in polygons]
    image = np.zeros((height, width, 3), np.uint8)
    return {"image": image, "polys": copies, "ignore_tags": np.zeros(len(copies), bool)}


def _maps(prob_map: Any, prob_mask: Any, thresh_map: Any, thresh_mask: Any) -> Maps:
    masks = (plane[None].astype(np.uint8) for plane in (prob_map, prob_mask, thresh_mask))
    prob, mask, border = masks
    return Maps(prob, mask, thresh_map[None], border)


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed; `pip install --no-deps {package}` brings the referee")
    return Path(spec.submodule_search_locations[0])


def _mindocr_transforms() -> Any:
    name = "mindocr.data.transforms.det_transforms"
    if name not in sys.modules:
        root = _folder("mindocr")
        for parent in ("mindocr", "mindocr.data", "mindocr.data.transforms", "mindocr.utils"):
            module = ModuleType(parent)
            module.__path__ = [str(root.joinpath(*parent.split(".")[1:]))]
            sys.modules[parent] = module
        misc = ModuleType("mindocr.utils.misc")  # imports MindSpore; only its label reader asks for this
        misc.is_uneven_nested_list = None  # type: ignore[attr-defined]
        sys.modules[misc.__name__] = misc
    return importlib.import_module(name)


def _paddleocr(name: str) -> Any:
    path = _folder("paddleocr") / "ppocr" / "data" / "imaug" / f"{name}.py"
    spec = spec_from_file_location(f"paddleocr_{name}", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
