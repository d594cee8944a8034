"""Pixels on the canvas: against Pillow as the referee, and a verdict for everything else."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydantic import ValidationError

from ocr.geometry import letterbox, transform_points
from ocr.images import Limits, pillow, read_header, turbo
from ocr.preprocess import DecodeParams, decode_upright
from pipeline.errors import ConfigError, PipelineError, Quarantine
from pipeline.stage import FileContent, Inputs
from stages import Decode
from tests.support import image_bytes as made

COLOUR = Image.fromarray(made.picture())
SOFT = Image.fromarray(made.picture(32, 48, seed=3)[..., 0])


def decoded(data: bytes, **params: object) -> NDArray[np.uint8]:
    """Decode without a resize: the canvas is as large as the image. uint8 (H, W, 3)."""
    size = read_header(data, Limits()).size
    return decode_upright(data, DecodeParams(canvas=size, **params)).image.transpose(1, 2, 0)


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(data))
    image.load()
    if "A" in image.getbands() or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def verdict(data: bytes, **params: object) -> str:
    with pytest.raises(Quarantine) as caught:
        decode_upright(data, DecodeParams(**params))
    assert caught.value.reason
    return caught.value.code


TABLE: dict[str, tuple[bytes, str]] = {
    "baseline": (made.jpeg(quality=90), "turbojpeg"),
    "progressive": (made.jpeg(progressive=True), "turbojpeg"),
    "4:4:4": (made.jpeg(subsampling=0), "turbojpeg"),
    "4:2:2": (made.jpeg(subsampling=1), "turbojpeg"),
    "arithmetic": (made.ARITHMETIC, "turbojpeg"),
    "restart markers": (made.jpeg(restart_marker_blocks=1), "turbojpeg"),
    "odd size": (made.jpeg(made.picture(37, 53)), "turbojpeg"),
    "one pixel": (made.jpeg(made.picture(1, 1)), "turbojpeg"),
    "gray": (made.save(COLOUR.convert("L"), "JPEG"), "turbojpeg"),
    "stored as RGB": (made.jpeg(keep_rgb=True), "turbojpeg"),
    "MPO": (made.save(COLOUR, "MPO", save_all=True, append_images=[SOFT.convert("RGB")]), "turbojpeg"),
    "after the end": (made.jpeg() + bytes(1000), "turbojpeg"),
    "CMYK": (made.save(COLOUR.convert("CMYK"), "JPEG"), "pillow@cmyk"),
    "CMYK without Adobe": (
        made.without_segment(made.save(COLOUR.convert("CMYK"), "JPEG"), 0xEE), "pillow@cmyk"
    ),
    "YCCK": (made.ycck(np.asarray(COLOUR.convert("CMYK"))), "pillow@cmyk"),
    "PNG": (made.save(COLOUR, "PNG"), "pillow@png"),
    "PNG gray": (made.save(SOFT, "PNG"), "pillow@png"),
    "PNG bilevel": (made.save(COLOUR.convert("1"), "PNG"), "pillow@png"),
    "PNG palette": (made.save(COLOUR.quantize(16), "PNG"), "pillow@png"),
    "PNG palette, transparent": (
        made.save(COLOUR.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))), "pillow@png"
    ),
    "PNG gray, one level transparent": (
        made.save(SOFT, "PNG", transparency=int(np.asarray(SOFT)[0, 0])), "pillow@png"
    ),
    "PNG gray with alpha": (made.save(Image.merge("LA", (SOFT, SOFT)), "PNG"), "pillow@png"),
    "PNG with alpha": (made.save(Image.merge("RGBA", (*COLOUR.split(), SOFT)), "PNG"), "pillow@png"),
    "PNG 16 bits in colour": (made.png16(made.picture().astype(np.uint16) * 250), "pillow@png"),
    "APNG": (
        made.save(COLOUR, "PNG", save_all=True, append_images=[COLOUR.rotate(180)]),
        "pillow@png first_frame@2",
    ),
    "WebP": (made.save(COLOUR, "WEBP"), "pillow@webp"),
    "WebP with alpha": (
        made.save(Image.merge("RGBA", (*COLOUR.split(), SOFT)), "WEBP", lossless=True), "pillow@webp"
    ),
    "TIFF": (made.save(COLOUR, "TIFF"), "pillow@tiff"),
    "TIFF fax": (made.save(COLOUR.convert("1"), "TIFF", compression="group4"), "pillow@tiff"),
    "TIFF LZW": (made.save(COLOUR, "TIFF", compression="tiff_lzw"), "pillow@tiff"),
    "TIFF JPEG": (made.save(COLOUR, "TIFF", compression="jpeg"), "pillow@tiff"),
    "TIFF CMYK": (made.save(COLOUR.convert("CMYK"), "TIFF"), "pillow@tiff"),
    "TIFF pages": (
        made.save(COLOUR, "TIFF", save_all=True, append_images=[COLOUR.rotate(180)]),
        "pillow@tiff first_frame@2",
    ),
    "BMP": (made.save(COLOUR, "BMP"), "pillow@bmp"),
    "BMP palette": (made.save(COLOUR.quantize(16), "BMP"), "pillow@bmp"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_pixels_are_those_of_pillow_and_the_decoder_is_told(name: str) -> None:
    data, decoder = TABLE[name]
    np.testing.assert_array_equal(decoded(data), by_pillow(data))
    assert decode_upright(data, DecodeParams()).decoder == decoder


@pytest.mark.parametrize("name", [name for name, (_, decoder) in TABLE.items() if decoder == "turbojpeg"])
def test_turbojpeg_can_be_switched_off_and_the_pixels_stay(name: str) -> None:
    data, _ = TABLE[name]
    np.testing.assert_array_equal(decoded(data, use_turbojpeg=False), decoded(data))
    off = DecodeParams(use_turbojpeg=False)
    assert decode_upright(data, off).decoder == "pillow@turbojpeg_off"


def test_of_16_bits_the_high_byte_is_kept() -> None:
    gray = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 42
    for data in (made.png16(gray), made.save(Image.fromarray(gray), "TIFF")):
        np.testing.assert_array_equal(decoded(data), np.repeat((gray >> 8)[..., None], 3, axis=2))


def test_pixels_without_a_fixed_range_are_refused() -> None:
    for dtype in (np.float32, np.int32):
        data = made.save(Image.fromarray(np.ones((8, 8), dtype=dtype)), "TIFF")
        assert verdict(data) == "unsupported_pixels"


def test_what_shows_through_is_a_parameter() -> None:
    image = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    image.putpixel((0, 0), (10, 20, 30, 255))
    clear = made.save(image, "PNG")
    assert (decoded(clear)[1:] == 255).all()
    assert (decoded(clear, background=(1, 2, 3))[1:] == (1, 2, 3)).all()


def test_a_tall_image_is_converted_band_by_band_without_a_seam() -> None:
    image = Image.fromarray(made.picture(700, 16)).quantize(32)
    data = made.save(image, "PNG", transparency=bytes(range(0, 256, 8)))
    np.testing.assert_array_equal(decoded(data), by_pillow(data))


@pytest.mark.parametrize("size", [(700, 300), (31, 257), (1, 9), (600, 20)])
def test_pillow_and_turbojpeg_are_resized_to_the_same_bytes(size: tuple[int, int]) -> None:
    data = made.jpeg(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    for canvas in ((64, 64), (640, 100), (900, 900)):
        by_turbojpeg, by_pillow = (
            decode_upright(data, DecodeParams(canvas=canvas, use_turbojpeg=use)) for use in (True, False)
        )
        np.testing.assert_array_equal(by_turbojpeg.image, by_pillow.image)


def test_pillows_own_limit_gives_way_to_ours_and_to_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = made.save(COLOUR, "PNG")
    np.testing.assert_array_equal(decoded(data), np.asarray(COLOUR))
    assert verdict(data, max_pixels=32 * 48 - 1) == "too_many_pixels"
    header = read_header(made.save(Image.new("RGB", (4, 4)), "PNG"), Limits())  # promises less than there is
    with pytest.raises(Quarantine, match="Pillow's own limit"):
        pillow.open_image(data, header)
    assert Image.MAX_IMAGE_PIXELS == 100


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


LARGE = made.jpeg(made.picture(64, 96), quality=95)
DAMAGED = made.with_damaged_scan(LARGE)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (cut(LARGE, 0.7), "truncated"),
        (cut(LARGE, 0.7) + b"\xff\xd9", "corrupt"),  # the end was put back
        (DAMAGED, "corrupt"),
        (cut(made.jpeg(made.picture(64, 96), progressive=True), 0.8), "truncated"),
        (made.with_damaged_scan(made.save(COLOUR.convert("CMYK"), "JPEG", quality=95)), "corrupt"),
        (cut(made.save(COLOUR, "PNG"), 0.7), "truncated"),
        (made.save(COLOUR, "PNG").replace(b"IDAT", b"IDAT\xff", 1), "truncated"),
        (cut(made.save(COLOUR, "WEBP"), 0.7), "truncated"),
        (cut(made.save(COLOUR, "TIFF"), 0.7), "truncated"),
        (cut(made.save(COLOUR, "BMP"), 0.7), "truncated"),
        (made.with_size(made.jpeg(), 2000, 2000), "corrupt"),  # far fewer pixels than the header says
        (made.png_bomb(4000, 4000), "truncated"),
        (made.with_exif(made.jpeg(), made.oriented(6)), "not_upright"),
    ],
)
def test_damage_is_a_verdict_every_time(data: bytes, code: str) -> None:
    for _ in range(3):
        assert verdict(data) == code


def test_damage_in_some_bytes_is_found_wherever_libjpeg_finds_it() -> None:
    found = 0
    for position in range(LARGE.index(b"\xff\xda") + 20, len(LARGE) - 10, 40):
        data = LARGE[:position] + b"\xff\x00\xff\x00" + LARGE[position + 4 :]
        warning = turbo.load().decode(data, (64, 96)).warning
        found += warning is not None
        if warning:
            assert verdict(data) == "corrupt"
    assert found > 10


def test_an_image_is_decoded_as_if_it_were_the_first() -> None:
    without_tables = made.without_segment(made.without_segment(LARGE, 0xDB), 0xDB)
    broken = LARGE[:20] + b"\xff\xdb\x00\x43\x0f" + LARGE[25:]  # a bogus table number ends the header
    good = decode_upright(LARGE, DecodeParams())
    for data in (broken, made.with_segments(LARGE, b"\xff\xd8"), DAMAGED, without_tables):
        assert verdict(data) == "corrupt"
        np.testing.assert_array_equal(decode_upright(LARGE, DecodeParams()).image, good.image)
        assert verdict(data) == "corrupt"  # not with the tables of the good one


def test_accepted_damage_is_recorded() -> None:
    accept = DecodeParams(canvas=(64, 96), on_corrupt="accept")
    assert decode_upright(DAMAGED, accept).decoder.startswith("turbojpeg accepted_corrupt@Corrupt-JPEG-data")
    result = decode_upright(cut(LARGE, 0.7), accept)
    assert result.decoder.startswith("turbojpeg accepted_truncated@no-EOI-marker")
    whole = decode_upright(LARGE, accept)
    assert whole.decoder == "turbojpeg"
    np.testing.assert_array_equal(result.image[:, :16], whole.image[:, :16])  # what came before the damage
    assert verdict(made.jpeg()[:100], on_corrupt="accept") == "truncated"  # nothing there to accept


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> turbo.Library:
        raise turbo.TurboUnavailableError("none here")

    monkeypatch.setattr(turbo, "load", missing)


def test_without_the_library_pillow_decodes_or_the_user_is_told(no_library: None) -> None:
    assert decode_upright(LARGE, DecodeParams()).decoder == "pillow@no_library"
    with pytest.raises(ConfigError, match="none here; install it, or set"):
        decode_upright(LARGE, DecodeParams(turbojpeg_fallback=False))
    assert decode_upright(LARGE, DecodeParams(turbojpeg_fallback=False, use_turbojpeg=False))


def test_what_turbojpeg_refuses_goes_to_pillow_only_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cmyk, _ = TABLE["CMYK"]
    assert verdict(cmyk, turbojpeg_fallback=False) == "turbojpeg_refused"

    def refuse(*_: object) -> turbo.Pixels:
        raise turbo.TurboError("not mine")

    monkeypatch.setattr(turbo.load(), "decode", refuse)
    assert decode_upright(LARGE, DecodeParams()).decoder == "pillow@refused"
    assert verdict(LARGE, turbojpeg_fallback=False) == "turbojpeg_refused"


ICC = {
    "JPEG": made.jpeg(icc_profile=made.linear_profile()),
    "PNG": made.save(COLOUR, "PNG", icc_profile=made.linear_profile()),
    "JPEG gray": made.save(SOFT, "JPEG", icc_profile=made.gray_profile()),
    "JPEG CMYK": made.save(COLOUR.convert("CMYK"), "JPEG", icc_profile=made.cmyk_profile()),
    "TIFF CMYK": made.save(COLOUR.convert("CMYK"), "TIFF", icc_profile=made.cmyk_profile()),
}


@pytest.mark.parametrize("name", ICC)
def test_icc_profiles_are_applied_on_request_only(name: str) -> None:
    data = ICC[name]
    np.testing.assert_array_equal(decoded(data), by_pillow(data))
    image = Image.open(io.BytesIO(data))
    source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    expected = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    got = decoded(data, icc_to_srgb=True)
    np.testing.assert_array_equal(got, np.asarray(expected))
    assert np.abs(got.astype(int) - by_pillow(data)).max() > 30


def test_a_profile_that_cannot_be_used_is_a_verdict_where_it_would_be_used() -> None:
    for profile in (b"no profile", made.lab_profile(), made.cmyk_profile()):
        data = made.jpeg(icc_profile=profile)
        decode_upright(data, DecodeParams())
        assert verdict(data, icc_to_srgb=True) == "bad_icc_profile"


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

    def spy(self: turbo.Library, data: bytes, size: tuple[int, int], eighths: int = 8, cmyk: bool = False):  # type: ignore[no-untyped-def]
        asked.append(eighths)
        return decode(self, data, size, eighths, cmyk)

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
    # Without AVX2, torch and libjpeg-turbo take other code paths.
    plain = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "JSIMD_FORCENONE": "1", "OMP_NUM_THREADS": "1"}
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
    assert {"libjpeg-turbo", "Pillow", "torch"} == set(stage.libraries())
    assert "libjpeg-turbo" not in Decode(use_turbojpeg=False).libraries()


@pytest.mark.parametrize(
    "wrong", [{"canvas": (0, 640)}, {"pad_value": 256}, {"dct_scaling": "fast"}, {"max_pixels": 0}]
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DecodeParams(**wrong)  # type: ignore[arg-type]


def test_a_verdict_is_no_failure_of_the_program() -> None:
    assert not issubclass(Quarantine, PipelineError)
