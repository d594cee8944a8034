"""Our decoder against RapidOCR's own, on the maps of the detector that its package carries (PP-OCRv4)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from ocr.detection import BoxDecoder
from ocr.params import BoxParams
from ocr.preprocess import DecodeParams, decode_upright
from tests.support.referees import rapid_post_process

SIDE = 960
MODEL = "models/ch_PP-OCRv4_det_infer.onnx"
"""Takes BGR in -1…1, as RapidOCR's `config.yaml` says."""


def probability_maps(images: list[Path], model: Path) -> Iterator[NDArray[np.float32]]:
    """What PP-OCRv4's detector gives for images on a square canvas: float32 (H, W) each."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # tests run side by side
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    for path in images:
        pixels = decode_upright(path.read_bytes(), DecodeParams(canvas=(SIDE, SIDE))).image
        values = (pixels[None, ::-1] / 127.5 - 1).astype(np.float32)
        yield session.run(None, {session.get_inputs()[0].name: values})[0][0, 0]


@pytest.fixture(scope="module")
def referee() -> Any:
    post_process = rapid_post_process()
    if post_process is None:
        pytest.skip("rapidocr-onnxruntime is not installed: see tests/support/referees.py")
    return post_process


@pytest.fixture(scope="module")
def maps(receipts: Path, referee: Any) -> list[NDArray[np.float32]]:
    package = importlib.util.find_spec("rapidocr_onnxruntime")
    assert package is not None and package.origin is not None
    return list(
        probability_maps(sorted((receipts / "img").glob("*.jpg"))[::35], Path(package.origin).parent / MODEL)
    )


@pytest.mark.slow
@pytest.mark.parametrize("dilation", [False, True])
def test_boxes_are_those_of_rapidocr(referee: Any, maps: list[NDArray[np.float32]], dilation: bool) -> None:
    """The same boxes with the same scores, corners within 3 pixels: RapidOCR cuts them to whole pixels before
    it grows a box, and rounds them afterwards.
    """
    post_process = referee(thresh=0.3, box_thresh=0.5, unclip_ratio=1.6, use_dilation=dilation)
    params = BoxParams(
        box_threshold=0.5, unclip_ratio=1.6, min_size=3, pixel_centres=False, dilation=dilation
    )
    decoder, boxes = BoxDecoder(params), 0
    for prob_map in maps:
        theirs, their_scores = post_process(prob_map[None, None], prob_map.shape)
        ours = decoder.decode_one(prob_map, np.eye(3), prob_map.shape)
        their_shapes, our_shapes = shapely.polygons(theirs), shapely.polygons(ours.polygons)
        same = shapely.hausdorff_distance(their_shapes[:, None], our_shapes) < 3
        same &= np.abs(np.array(their_scores)[:, None] - ours.scores) < 1e-6
        assert same.any(axis=0).all() and same.any(axis=1).all()
        boxes += len(theirs)
    assert boxes > 250
