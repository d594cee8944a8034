"""Public implementations that tests and benchmarks hold ours against, where they are installed.

They are no dependencies: their packages bring large ones along that nobody here needs. `tests/referees.txt`
names them, and `make test` installs them.

CLEval's package clips with Polygon3, whose clipper (GPC) is free for non-commercial use only, so nothing
here installs it. Without it the package clips with shapely (`polygon_clipper`).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2

from tests.support import polygon_clipper


def load_module(package: str, path: str) -> ModuleType | None:
    """Load one file of an installed package, without running the package's `__init__`."""
    package_spec = importlib.util.find_spec(package)
    if package_spec is None or package_spec.origin is None:
        return None
    file = Path(package_spec.origin).parent / path
    spec = importlib.util.spec_from_file_location(f"referee_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def db_post_process() -> Any:
    """OpenOCR's `DBPostProcess`, which is PaddleOCR's and WenmuZhou's; None where not installed."""
    return _post_process(load_module("openocr", "opendet/postprocess/db_postprocess.py"))


def rapid_post_process() -> Any:
    """RapidOCR's `DBPostProcess`, which may dilate; None where not installed."""
    return _post_process(load_module("rapidocr_onnxruntime", "ch_ppocr_det/utils.py"))


def _post_process(module: ModuleType | None) -> Any:
    """Take OpenCV's rounding errors from the rectangles of a `DBPostProcess`, as ours does.

    Both cut corners to whole pixels to score a region, and 526.99994 would lose a row of it.
    """
    if module is None:
        return None
    exact = {"boxPoints": lambda rectangle: cv2.boxPoints(rectangle).round(3)}
    module.cv2 = SimpleNamespace(**{**vars(cv2), **exact})  # type: ignore[attr-defined]
    return module.DBPostProcess


def iou_evaluator() -> Any:
    """OpenOCR's `DetectionIoUEvaluator`, ICDAR 2015's protocol as in MhLiao/DB; None where not installed."""
    module = load_module("openocr", "opendet/metrics/eval_det_iou.py")
    return module and module.DetectionIoUEvaluator


def cleval_metric() -> Any:
    """The published `CLEvalMetric` (clovaai/CLEval); None where not installed."""
    if importlib.util.find_spec("cleval") is None:
        return None
    if importlib.util.find_spec("Polygon") is None:
        sys.modules["Polygon"] = polygon_clipper
    from cleval.torchmetric import CLEvalMetric

    return CLEvalMetric
