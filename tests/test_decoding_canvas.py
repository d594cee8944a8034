"""The image on its canvas: where the matrix says, scaled as Pillow scales, the same bytes everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from ocr.geometry import letterbox, transform_points
from ocr.images import turbo
from ocr.preprocess import DecodeParams, decode_upright
from pipeline.stage import FileContent, Inputs
from stages import Decode
from tests.support import image_bytes as made
from tests.support.decoding import LARGE


@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(1, 64), st.integers(1, 64),
    st.sampled_from(["bottom_right", "center"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_image_lies_where_the_matrix_says_and_padding_around_it(
    height: int, width: int, canvas_height: int, canvas_width: int, padding: str
) -> None:
    data = made.save(Image.new("RGB", (width, height), (200, 100, 50)), "PNG")
    canvas = (canvas_height, canvas_width)
    result = decode_upright(data, DecodeParams(canvas=canvas, padding=padding, pad_value=7))  # type: ignore[arg-type]
    assert result.image.shape == (3, *canvas)
    assert result.image.dtype == np.uint8
    assert result.image.flags.c_contiguous
    (left, top), (right, bottom) = (
        transform_points(result.matrix, [(0, 0), (width, height)]).round().astype(int)
    )
    inside = np.zeros(canvas, dtype=bool)
    inside[top:bottom, left:right] = True
    assert (result.image[:, inside] == np.array([[200], [100], [50]])).all()
    assert (result.image[:, ~inside] == 7).all()


def assert_within_a_level_of_pillow(path: Path) -> None:
    result = decode_upright(path.read_bytes(), DecodeParams())
    image = Image.open(path).convert("RGB")
    box = letterbox(image.size[::-1], (640, 640))
    expected = np.asarray(image.resize((box.width, box.height), Image.Resampling.BILINEAR))
    got = result.image[:, : box.height, : box.width].transpose(1, 2, 0)
    assert np.abs(got.astype(np.int16) - expected).max() <= 1


def test_receipts_are_within_a_level_of_pillow(receipts: Path) -> None:
    for path in sorted(receipts.glob("img/*.jpg"))[:20]:
        assert_within_a_level_of_pillow(path)


@pytest.mark.slow
def test_all_receipts_are_within_a_level_of_pillow(receipts: Path) -> None:
    for path in sorted(receipts.glob("img/*.jpg"))[20:]:
        assert_within_a_level_of_pillow(path)


def test_safe_scaling_decodes_small_and_leaves_twice_the_target(
    receipts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    decode: Callable[..., turbo.Pixels] = turbo.Library.decode

    def spy(self: turbo.Library, data: bytes, size: tuple[int, int], eighths: int = 8, *given: Any):  # type: ignore[no-untyped-def]
        asked.append(eighths)
        return decode(self, data, size, eighths, *given)

    monkeypatch.setattr(turbo.Library, "decode", spy)
    small, large = (receipts / "img" / name for name in ("000.jpg", "531.jpg"))
    for path, expected in ((small, 8), (large, 2)):
        data = path.read_bytes()
        full = decode_upright(data, DecodeParams())
        safe = decode_upright(data, DecodeParams(dct_scaling="safe"))
        assert asked[-2:] == [8, expected]
        np.testing.assert_array_equal(full.matrix, safe.matrix)
        difference = np.abs(full.image.astype(np.int16) - safe.image)
        assert difference.mean() < 0.5
        assert (difference.max() == 0) == (expected == 8)


def test_an_image_keeps_nothing_of_the_one_that_its_thread_decoded_before() -> None:
    params = DecodeParams(canvas=(64, 64))
    images = [
        made.jpeg(made.picture(*size, seed)) for seed, size in enumerate(((96, 64), (24, 40), (64, 64)))
    ]
    together = [decode_upright(data, params).image for data in images]
    for data, image in zip(images, together, strict=True):
        with ThreadPoolExecutor(1) as another:
            np.testing.assert_array_equal(image, another.submit(decode_upright, data, params).result().image)


def test_threads_and_processes_and_processors_give_the_same_bytes(receipts: Path) -> None:
    path = receipts / "img" / "000.jpg"
    digest = hashlib.sha256(decode_upright(path.read_bytes(), DecodeParams()).image.tobytes()).hexdigest()
    seen: list[str] = []

    def work() -> None:
        for _ in range(3):
            image = decode_upright(path.read_bytes(), DecodeParams()).image
            seen.append(hashlib.sha256(image.tobytes()).hexdigest())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [digest] * 12

    code = (
        "import sys, hashlib, pathlib; from ocr.preprocess.decode import DecodeParams, decode_upright\n"
        "image = decode_upright(pathlib.Path(sys.argv[1]).read_bytes(), DecodeParams()).image\n"
        "print(hashlib.sha256(image.tobytes()).hexdigest())"
    )
    # libjpeg-turbo, numba and OpenCV take other code paths.
    plain = {**os.environ, "JSIMD_FORCENONE": "1", "NUMBA_CPU_NAME": "generic", "OPENCV_CPU_DISABLE": "AVX2"}
    command = [sys.executable, "-c", code, str(path)]
    run = subprocess.run(command, env=plain, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == digest


def test_the_stage_gives_what_it_declares() -> None:
    stage = Decode(canvas=(64, 80))
    upright = FileContent("a.jpg", LARGE)
    size = np.array([64, 96], dtype=np.int32)
    values = stage.compute(Inputs("a.jpg", None, {"canonicalize": {"upright": upright, "size": size}}))
    assert list(values) == [field.name for field in stage.fields()]
    image, matrix, decoder = values.values()
    assert (image.shape, image.dtype) == ((3, 64, 80), np.uint8)
    assert (matrix.shape, matrix.dtype) == ((3, 3), np.float64)
    assert decoder == "turbojpeg"
    assert {"libjpeg-turbo", "Pillow"} == set(stage.libraries())
    assert "libjpeg-turbo" not in Decode(use_turbojpeg=False).libraries()


@pytest.mark.parametrize(
    "wrong", [{"canvas": (0, 640)}, {"pad_value": 256}, {"dct_scaling": "fast"}, {"max_pixels": 0}]
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DecodeParams(**wrong)  # type: ignore[arg-type]
