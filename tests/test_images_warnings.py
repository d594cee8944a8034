"""What a decoder warns of: told apart by whether a pixel is lost, against OpenCV on the sound file."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ocr.images import Limits, jpeg, read_header
from ocr.preprocess import CanonicalParams, DecodeParams, RawSample, canonicalize, decode_upright
from pipeline.errors import Quarantine
from tests.support import image_bytes as made

PICTURE = made.picture(64, 96)
PLAIN = made.jpeg(PICTURE, quality=95)
PROGRESSIVE = made.jpeg(PICTURE, quality=95, progressive=True)
NO_JFIF = made.without_segment(PLAIN, 0xE0)
ADOBE = made.with_segments(NO_JFIF, made.segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01"))
STRAY = made.with_segments(PLAIN, made.segment(0xFE, b"a note"), b"stray")
UNKNOWN_ADOBE = ADOBE.replace(b"\0\0\0\0\x01", b"\0\0\0\0\x07", 1)


def by_opencv(data: bytes) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def with_jfif(major: int) -> bytes:
    start = PLAIN.index(b"JFIF\0") + 5
    return PLAIN[:start] + bytes([major]) + PLAIN[start + 1 :]


def with_spectral_range(first: int, last: int, data: bytes = PLAIN) -> bytes:
    start = data.index(b"\xff\xda")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    return data[: end - 3] + bytes([first, last, 0]) + data[end:]


def before_end(extra: bytes, data: bytes = PLAIN) -> bytes:
    return data[:-2] + extra + data[-2:]


def after_scan(index: int) -> bytes:
    end = jpeg.parse(PROGRESSIVE).scan_ends[index]
    return PROGRESSIVE[:end] + bytes(20) + PROGRESSIVE[end:]


NOISE = np.random.default_rng(0).bytes(33).replace(b"\xff", b"\xfe")
HARMLESS = {
    "JFIF 2.1": (with_jfif(2), PLAIN, "JFIF-2.01"),
    "JFIF 0.1": (with_jfif(0), PLAIN, "JFIF-0.01"),
    "unknown Adobe transform": (UNKNOWN_ADOBE, ADOBE, "unknown-Adobe-transform-7"),
    "no spectral range": (with_spectral_range(0, 0), PLAIN, "spectral-range-0-to-0,-0x00"),
    "zeros before the end": (before_end(bytes(33)), PLAIN, "extraneous-bytes-before-marker-0xd9"),
    "noise before the end": (before_end(NOISE), PLAIN, "extraneous-bytes-before-marker-0xd9"),
    "stuffed bytes": (before_end(b"\xff\0" * 20), PLAIN, "extraneous-bytes-before-marker-0xd9"),
    "much text before the end": (before_end(b"x" * 9000), PLAIN, "extraneous-bytes-before-marker-0xd9"),
    "bytes after a progressive": (before_end(NOISE, PROGRESSIVE), PROGRESSIVE, "extraneous-bytes"),
    "between scans": (after_scan(2), PROGRESSIVE, "extraneous-bytes-before-marker-0xc4"),
    "before a header marker": (
        STRAY, PLAIN, "5-stray-bytes-at-byte-12",
    ),
    "a null marker": (made.with_segments(PLAIN, b"\xff\0"), PLAIN, "2-stray-bytes-at-byte-2"),
    "several at once": (before_end(bytes(20), with_spectral_range(0, 0, with_jfif(3))), PLAIN, "JFIF-3.01"),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("orientation", [1, 3])
def test_what_costs_no_pixel_is_accepted_and_told(name: str, orientation: int, tmp_path: Path) -> None:
    odd, whole, word = HARMLESS[name]
    path = tmp_path / "a.jpg"
    path.write_bytes(made.with_exif(odd, made.oriented(orientation)) if orientation > 1 else odd)
    canonical = canonicalize(RawSample(path), CanonicalParams())
    result = decode_upright(canonical.upright, DecodeParams(canvas=(64, 96)))
    wanted = by_opencv(whole)
    wanted = wanted if orientation == 1 else np.rot90(wanted, 2)
    difference = np.abs(result.image.transpose(1, 2, 0).astype(int) - wanted)
    assert difference.max() <= (0 if orientation == 1 else 4)  # the lossless turn rounds in another order
    by_pillow = decode_upright(canonical.upright, DecodeParams(canvas=(64, 96), use_turbojpeg=False))
    np.testing.assert_array_equal(by_pillow.image, result.image)
    told = f"{canonical.transform} {result.decoder}".split()
    assert any(w.startswith("harmless@") and word.split("-at-")[0] in w for w in told)
    full = canonicalize(RawSample(path), CanonicalParams(integrity="full"))
    assert "harmless@" in full.transform


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)] + b"\xff\xd9"


RESTARTS = made.jpeg(PICTURE, quality=95, restart_marker_blocks=3)


@pytest.mark.parametrize(
    "data",
    [
        cut(PLAIN, 0.7),
        made.with_damaged_scan(PLAIN),
        RESTARTS.replace(b"\xff\xd3", b"\xff\xd5", 1),
        RESTARTS[: RESTARTS.index(b"\xff\xd2")] + RESTARTS[RESTARTS.index(b"\xff\xd3") :],
        RESTARTS.replace(b"\xff\xd3", NOISE + b"\xff\xd3", 1),  # out of step: as a rule the rest is garbled
        # The first warning would hide the second.
        cut(with_jfif(2), 0.7),
        cut(with_spectral_range(0, 0), 0.7),
        made.with_damaged_scan(UNKNOWN_ADOBE),
        made.with_damaged_scan(STRAY),
        cut(before_end(bytes(20), PROGRESSIVE), 0.6),
        cut(after_scan(2), 0.8),
        PROGRESSIVE.replace(
            b"\xff\xda", bytes(20) + b"\xff\xda"
        ),  # stray, and perhaps what is left of a scan
    ],
)
def test_what_costs_pixels_is_quarantined_whatever_else_is_said(data: bytes) -> None:
    for _ in range(2):
        with pytest.raises(Quarantine) as caught:
            decode_upright(data, DecodeParams())
        assert caught.value.code == "corrupt"


def test_codes_that_end_too_early_are_rarely_taken_for_bytes_after_the_last_one() -> None:
    """Where data was overwritten, libjpeg often speaks of nothing else."""
    random = np.random.default_rng(0)
    start, accepted, found = PLAIN.index(b"\xff\xda") + 14, 0, 0
    for _ in range(60):
        at = int(random.integers(start, len(PLAIN) - 40))
        noise = random.bytes(16).replace(b"\xff", b"\xfe")
        data = PLAIN[:at] + noise + PLAIN[at + 16 :]
        try:
            accepted += "harmless" in decode_upright(data, DecodeParams()).decoder
        except Quarantine:
            found += 1
    assert found > 2 * accepted


def with_tag(tag: int, kind: int, count: int, value: int) -> bytes:
    """A TIFF with one more tag, whose values may lie anywhere."""
    data = made.save(Image.fromarray(PICTURE), "TIFF")
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    tags = [data[at : at + 12] for at in range(start + 2, start + 2 + 12 * entries, 12)]
    tags = sorted([*tags, struct.pack("<HHII", tag, kind, count, value)], key=lambda one: one[1::-1])
    directory = struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


CMYK = made.save(Image.fromarray(PICTURE).convert("CMYK"), "JPEG")
PILLOW_AS_IS = np.asarray(Image.open(io.BytesIO(CMYK)).convert("RGB"))


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        *(
            (with_tag(*tag), PICTURE)
            for tag in [
                (270, 2, 999, 10**6),  # a description behind the end of the file
                (305, 2, 2**31, 4),
                (282, 5, 1, 10**6),  # a resolution
                (700, 1, 999, 10**6),  # XMP
                (34675, 7, 5000, 10**6),  # an ICC profile
                (34665, 4, 1, 10**6),  # EXIF
                (34853, 4, 1, 3),
                (700, 99, 4, 4),
            ]
        ),
        *(
            (made.with_segments(CMYK, made.segment(marker, body)), PILLOW_AS_IS)
            for marker, body in [
                (0xE0, b"JFIF\0"),
                (0xE1, b""),
                (0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
                (0xE2, b"ICC_PROFILE\0"),
                (0xE2, b"MPF\0no pictures"),
                (0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\xff\xff\xff\xff\xff"),
                (0xEE, b"Adob"),
                (0xFE, b""),
            ]
        ),
    ],
)
def test_broken_metadata_decides_nothing(data: bytes, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    canonical = canonicalize(RawSample(path), CanonicalParams(integrity="full"))
    result = decode_upright(canonical.upright, DecodeParams(canvas=(64, 96)))
    np.testing.assert_array_equal(result.image.transpose(1, 2, 0), pixels)


def chunk_in(data: bytes, *chunks: bytes) -> bytes:
    return data[:33] + b"".join(chunks) + data[33:]


def wrong(kind: bytes, body: bytes) -> bytes:
    return made.png_chunk(kind, body)[:-4] + b"\0\0\0\0"


PNG = made.save(Image.fromarray(PICTURE), "PNG")
PALETTE = made.save(Image.fromarray(PICTURE).quantize(16), "PNG")
BOMB = zlib.compress(bytes(200 * 2**20), 9)


@pytest.mark.parametrize(
    ("chunk", "note"),
    [
        (made.png_chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b'{"a":1}' * 430_000)), ""),
        (made.png_chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3 * 2**20))), ""),
        (made.png_chunk(b"tEXt", b"workflow\0" + b"x" * 3 * 2**20), ""),
        (made.png_chunk(b"iCCP", b"p\0\0" + zlib.compress(np.random.default_rng(0).bytes(1_400_000))), ""),
        (made.png_chunk(b"iCCP", b"p\0\0" + BOMB), ""),
        (made.png_chunk(b"iCCP", b"p"), ""),
        (made.png_chunk(b"zTXt", b"no text"), ""),
        (made.png_chunk(b"iTXt", b""), ""),
        (made.png_chunk(b"tIME", b"soon"), ""),
        (made.png_chunk(b"sRGB", b""), ""),
        (wrong(b"tEXt", b"a\0b"), "harmless@wrong-checksum-of-tEXt"),
        (wrong(b"iCCP", b"p\0\0" + zlib.compress(made.linear_profile())), "harmless@wrong-checksum-of-iCCP"),
        (wrong(b"eXIf", made.oriented(6)), "harmless@wrong-checksum-of-eXIf"),
        (wrong(b"acTL", b"\0\0\xff\xff" + bytes(4)), "harmless@wrong-checksum-of-acTL"),
        (wrong(b"prVW", bytes(9)), "harmless@wrong-checksum-of-prVW"),
    ],
)
def test_what_a_png_says_beside_its_pixels_decides_nothing(chunk: bytes, note: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(chunk_in(PNG, chunk))
    canonical = canonicalize(RawSample(path), CanonicalParams(integrity="full"))
    assert " ".join(canonical.transform.split()[1:]) == note
    np.testing.assert_array_equal(by_opencv(PNG), PICTURE)
    result = decode_upright(canonical.upright, DecodeParams(canvas=(64, 96)))
    np.testing.assert_array_equal(result.image.transpose(1, 2, 0), PICTURE)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (PNG[:29] + b"\0\0\0\0" + PNG[33:], "corrupt"),  # the header's checksum
        (PNG[:-16] + b"\0\0\0\0" + PNG[-12:], "corrupt"),  # the pixels'
        (chunk_in(PNG, wrong(b"tRNS", bytes(6))), "corrupt"),  # may be what decides pixels
        (PALETTE.replace(b"PLTE", b"pLTE"), "corrupt"),
        (chunk_in(PNG, made.png_chunk(b"t\0xt", b"")), "corrupt"),
        (chunk_in(PNG, made.png_chunk(b"NEWS", b"")), "unsupported_format"),
        (PNG[:8] + made.png_chunk(b"CgBI", bytes(4)) + PNG[8:], "unsupported_format"),  # as on telephones
    ],
)
def test_what_decides_the_pixels_of_a_png_must_be_sound(data: bytes, code: str) -> None:
    with pytest.raises(Quarantine) as caught:
        decode_upright(data, DecodeParams())
    assert caught.value.code == code


def test_texts_and_profiles_are_inflated_up_to_a_bound(tmp_path: Path) -> None:
    import tracemalloc

    texts = [made.png_chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + BOMB)] * 50
    texts += [made.png_chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB)] * 50
    data = chunk_in(PNG, *texts, made.png_chunk(b"iCCP", b"p\0\0" + BOMB))
    tracemalloc.start()
    try:
        assert read_header(data, Limits()).orientation == 1
        decode_upright(data, DecodeParams(canvas=(64, 96), icc_to_srgb=True))
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_a_profile_of_more_than_a_megabyte_is_used_where_one_is_asked_for() -> None:
    profile = made.linear_profile()
    long = struct.pack(">I", len(profile)) + profile[4:] + bytes(1_200_000)
    params = DecodeParams(canvas=(64, 96), icc_to_srgb=True)
    images = [
        decode_upright(chunk_in(PNG, made.png_chunk(b"iCCP", b"p\0\0" + zlib.compress(one))), params).image
        for one in (profile, long)
    ]
    np.testing.assert_array_equal(*images)
    assert np.abs(images[0].transpose(1, 2, 0).astype(int) - PICTURE).max() > 30
