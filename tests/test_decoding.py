"""Decoded pixels: against Pillow as the referee, and a verdict for everything else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ocr.images import Limits, pillow, read_header, turbo
from ocr.preprocess import DecodeParams, decode_upright
from pipeline.errors import ConfigError, PipelineError, Quarantine
from tests.support import image_bytes as made
from tests.support.decoding import COLOUR, LARGE, verdict

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


def test_a_verdict_is_no_failure_of_the_program() -> None:
    assert not issubclass(Quarantine, PipelineError)
