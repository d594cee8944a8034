"""Upright without loss: every reader sees the same pixels, and nothing private stays."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ocr.images import Limits, Upright, jpeg, make_upright, read_header, turbo
from tests.support import image_bytes as made

TAG = 0x0112
ORIENTATIONS = range(1, 9)


def upright(data: bytes, keep_metadata: bool = False) -> Upright:
    return make_upright(data, read_header(data, Limits()), keep_metadata)


def as_viewers_show_it(data: bytes) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of a viewer that honours orientation."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def assert_every_reader_agrees(data: bytes) -> NDArray[np.uint8]:
    """Read with and without regard to orientation, by two libraries; all must give the same pixels."""
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(as_viewers_show_it(data), stored)
    encoded = np.frombuffer(data, dtype=np.uint8)
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        np.testing.assert_array_equal(cv2.imdecode(encoded, flags)[..., ::-1], stored)
    return stored


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_eight_photographs_become_one_picture(exif_photos: Path, orientation: int) -> None:
    raw = (exif_photos / f"Landscape_{orientation}.jpg").read_bytes()
    result = upright(raw)
    shown = assert_every_reader_agrees(result.data)
    # The lossless turn keeps the coefficients; the inverse transform then rounds in another order.
    tolerance = 4 if result.transform == "lossless" else 0
    assert np.abs(shown.astype(int) - as_viewers_show_it(raw)).max() <= tolerance
    first = as_viewers_show_it((exif_photos / "Landscape_1.jpg").read_bytes())
    assert np.abs(shown.astype(int) - first).mean() < 5  # each was encoded anew by its maker


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_whole_mcus_are_turned_without_touching_a_coefficient(orientation: int, subsampling: str) -> None:
    plain = made.jpeg(made.picture(32, 48), subsampling=subsampling)
    result = upright(made.with_exif(plain, made.oriented(orientation)))
    assert result.transform == ("link" if orientation == 1 else "lossless")
    assert TAG not in Image.open(io.BytesIO(result.data)).getexif() or orientation == 1
    assert_every_reader_agrees(result.data)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    back = upright(made.with_exif(result.data, made.oriented(inverse))) if orientation != 1 else result
    assert coefficients(back.data) == coefficients(plain)


def coefficients(data: bytes) -> bytes:
    """The entropy-coded data, which names the coefficients where the Huffman tables are the same."""
    return data[data.index(b"\xff\xda") :]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_partial_mcus_become_a_png_where_the_turn_would_not_be_exact(orientation: int) -> None:
    raw = made.with_exif(made.jpeg(made.picture(37, 53), subsampling="4:2:0"), made.oriented(orientation))
    result = upright(raw)
    assert result.transform == ("lossless" if orientation == 5 else "png")  # a transposition is always exact
    shown = assert_every_reader_agrees(result.data)
    assert np.abs(shown.astype(int) - as_viewers_show_it(raw)).max() <= (4 if orientation == 5 else 0)


def test_a_partial_mcu_matters_only_along_the_mirrored_edge() -> None:
    pixels = made.picture(37, 48)
    assert upright(made.with_exif(made.jpeg(pixels), made.oriented(2))).transform == "lossless"
    assert upright(made.with_exif(made.jpeg(pixels), made.oriented(4))).transform == "png"


@pytest.mark.parametrize(
    "data",
    [
        made.jpeg(),
        made.with_exif(made.jpeg(), made.oriented(1)),
        made.save(Image.fromarray(made.picture()), "PNG"),
        made.save(Image.fromarray(made.picture()), "WEBP"),
        made.save(Image.fromarray(made.picture()), "TIFF"),
        made.save(Image.fromarray(made.picture()), "BMP"),
    ],
)
def test_what_is_upright_and_tells_nothing_serves_as_it_is(data: bytes) -> None:
    assert upright(data) == Upright(data, "link")


@pytest.mark.parametrize("orientation", [1, 6])
def test_metadata_goes_and_the_icc_profile_stays(orientation: int) -> None:
    profile = made.srgb_profile()
    block = made.tiff_block([(TAG, 3, 1, orientation), (0x010F, 2, 4, 0x656D6341), (0x8825, 4, 1, 0)])
    raw = made.with_segments(
        made.jpeg(icc_profile=profile),
        made.segment(0xE1, b"Exif\0\0" + block),
        made.segment(0xE1, made.XMP),
        made.segment(0xED, b"Photoshop 3.0\0" + b"city"),
        made.segment(0xFE, b"a comment"),
    )
    result = upright(raw + b"a film clip with a position")
    assert result.transform == ("cleaned" if orientation == 1 else "lossless")
    for private in (b"Exif", b"Acme", b"adobe.com/xap", b"Photoshop", b"film"):
        assert private not in result.data
    image = Image.open(io.BytesIO(result.data))
    assert image.info["icc_profile"] == profile
    assert image.info["comment"] == b"a comment"
    assert_every_reader_agrees(result.data)
    if orientation == 1:
        assert coefficients(raw) == coefficients(result.data)


@pytest.mark.parametrize("pixels", [made.picture(32, 48), made.picture(37, 53)])
def test_metadata_stays_on_request_with_the_orientation_set_to_1(pixels: NDArray[np.uint8]) -> None:
    raw = made.with_segments(made.with_exif(made.jpeg(pixels), made.GPS), made.segment(0xE1, made.XMP))
    result = upright(raw, keep_metadata=True)
    exif = Image.open(io.BytesIO(result.data)).getexif()
    assert (exif[TAG], exif[0x010F]) == (1, "Acme")
    assert 0x8825 in exif
    assert_every_reader_agrees(result.data)


def test_kept_metadata_that_is_upright_is_linked() -> None:
    raw = made.with_exif(made.jpeg(), made.tiff_block([(TAG, 3, 1, 1), (0x010F, 2, 4, 0x656D6341)]))
    assert upright(raw, keep_metadata=True) == Upright(raw, "link")
    assert upright(raw).transform == "cleaned"


def test_xmp_that_names_an_orientation_does_not_survive() -> None:
    raw = made.with_segments(made.jpeg(), made.segment(0xE1, made.XMP))
    for keep_metadata in (False, True):
        result = upright(raw, keep_metadata)
        assert result.transform == "lossless"
        assert assert_every_reader_agrees(result.data).shape == (48, 32, 3)
        contradicted = upright(made.with_exif(raw, made.oriented(1)), keep_metadata)
        assert contradicted.transform == "cleaned"
        assert assert_every_reader_agrees(contradicted.data).shape == (32, 48, 3)


def test_further_pictures_of_an_mpo_are_dropped_with_its_metadata() -> None:
    first, second = (Image.fromarray(made.picture(seed=seed)) for seed in (1, 2))
    raw = made.save(first, "MPO", save_all=True, append_images=[second])
    result = upright(raw)
    assert result.transform == "cleaned"
    assert result.data == jpeg.clean(raw, jpeg.parse(raw), keep_metadata=False)
    assert Image.open(io.BytesIO(result.data)).format == "JPEG"
    assert result.data.count(b"\xff\xd9") == 1
    np.testing.assert_array_equal(
        assert_every_reader_agrees(result.data), np.asarray(Image.open(io.BytesIO(raw)))
    )


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_other_formats_are_turned_too(format: str, orientation: int) -> None:
    image = Image.fromarray(made.picture(20, 30))
    exif = image.getexif()
    exif[TAG] = orientation
    raw = made.save(image, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    result = upright(raw)
    assert result.transform == "png"
    expected = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(assert_every_reader_agrees(result.data), np.asarray(expected))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_turned_png_keeps_its_bits_and_channels(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 109)
    else:
        image = Image.fromarray(made.picture(20, 30)).convert(mode)
    exif = Image.Exif()
    exif[TAG] = 6
    result = upright(made.save(image, "PNG", exif=exif, icc_profile=b"a profile"))
    turned = Image.open(io.BytesIO(result.data))
    assert turned.mode == image.mode
    assert turned.info["icc_profile"] == b"a profile"
    np.testing.assert_array_equal(np.asarray(turned), np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_low_bytes_of_colour_are_dropped_where_pixels_are_turned_and_that_is_told(format: str) -> None:
    pixels = made.picture(20, 30).astype(np.uint16) * 250
    if format == "PNG":
        raw = made.png16(pixels, made.png_chunk(b"eXIf", made.oriented(6)))
    else:
        raw = made.tiff16(pixels, orientation=6)
    result = upright(raw)
    assert (result.transform, result.notes) == ("png", ("low_bytes_dropped",))
    np.testing.assert_array_equal(assert_every_reader_agrees(result.data), np.rot90(pixels >> 8, -1))
    gray = made.png16(pixels[..., 0], made.png_chunk(b"eXIf", made.oriented(6)))
    assert upright(gray).notes == ()


def test_transparency_of_a_palette_survives_the_turn() -> None:
    image = Image.fromarray(made.picture(20, 30)).quantize(16)
    exif = Image.Exif()
    exif[TAG] = 3
    raw = made.save(image, "PNG", exif=exif, transparency=bytes(range(0, 256, 16)))
    expected = np.asarray(Image.open(io.BytesIO(raw)).convert("RGBA"))[::-1, ::-1]
    shown = np.asarray(Image.open(io.BytesIO(upright(raw).data)).convert("RGBA"))
    np.testing.assert_array_equal(shown, expected)


def test_a_tiff_that_xmp_turns_is_turned_once() -> None:
    pixels = made.picture(20, 30)
    raw = made.save(Image.fromarray(pixels), "TIFF", tiffinfo={700: made.XMP})
    np.testing.assert_array_equal(assert_every_reader_agrees(upright(raw).data), np.rot90(pixels, -1))


@pytest.mark.parametrize("orientation", [3, 6])
def test_damage_met_while_turning_is_told(orientation: int) -> None:
    for size in ((64, 96), (61, 93)):
        raw = made.with_exif(
            made.with_damaged_scan(made.jpeg(made.picture(*size), quality=95)), made.oriented(orientation)
        )
        for _ in range(2):  # not only the first time
            assert upright(raw).warning


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_cmyk_jpegs_are_turned_losslessly(mode: str) -> None:
    data = made.save(Image.fromarray(made.picture()).convert(mode), "JPEG", subsampling=0)
    raw = made.with_exif(data, made.oriented(6))
    result = upright(raw)
    assert result.transform == "lossless"
    assert Image.open(io.BytesIO(result.data)).mode == mode
    shown = np.asarray(Image.open(io.BytesIO(result.data)).convert("RGB"))
    assert np.abs(shown.astype(int) - as_viewers_show_it(raw)).max() <= 4


def test_without_the_library_a_png_takes_the_place_of_the_lossless_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = made.with_exif(made.jpeg(), made.oriented(6))

    def missing() -> turbo.Library:
        raise turbo.TurboUnavailableError("none here")

    monkeypatch.setattr(turbo, "load", missing)
    result = upright(raw)
    assert result.transform == "png"
    np.testing.assert_array_equal(assert_every_reader_agrees(result.data), as_viewers_show_it(raw))
