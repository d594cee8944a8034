"""What a file is and what it may cost, before anything is decoded."""

from __future__ import annotations

import io
import re
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ocr.images import Header, Limits, jpeg, read_header
from ocr.preprocess import DecodeParams, decode_upright
from pipeline.errors import Quarantine
from tests.support import image_bytes as made

IMAGE = Image.fromarray(made.picture(24, 40))


def refused(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(Quarantine) as caught:
        read_header(data, limits or Limits())
    assert caught.value.reason
    return caught.value.code


@pytest.mark.parametrize(
    ("data", "format", "frames"),
    [
        (made.jpeg(made.picture(24, 40)), "jpeg", 1),
        (made.jpeg(made.picture(24, 40), progressive=True), "jpeg", 1),
        (made.save(IMAGE, "MPO", save_all=True, append_images=[IMAGE]), "jpeg", 1),
        (made.save(IMAGE, "PNG"), "png", 1),
        (made.save(IMAGE, "PNG", save_all=True, append_images=[IMAGE.rotate(180)]), "png", 2),
        (made.save(IMAGE, "WEBP"), "webp", 1),
        (made.save(IMAGE, "WEBP", lossless=True), "webp", 1),
        (made.save(IMAGE.convert("RGBA"), "WEBP", exif=made.oriented(1)), "webp", 1),
        (made.save(IMAGE, "WEBP", save_all=True, append_images=[IMAGE.rotate(180)]), "webp", 2),
        (made.save(IMAGE, "TIFF"), "tiff", 1),
        (made.save(IMAGE, "TIFF", save_all=True, append_images=[IMAGE, IMAGE]), "tiff", 3),
        (made.save(IMAGE, "BMP"), "bmp", 1),
    ],
)
def test_format_and_size_come_from_the_content(data: bytes, format: str, frames: int) -> None:
    header = read_header(data, Limits())
    assert (header.format, header.size, header.frames) == (format, (24, 40), frames)
    assert header.damage is None
    assert Image.open(io.BytesIO(data)).size == (40, 24)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"\xff", "unsupported_format"),
        (b"<!DOCTYPE html><html></html>", "unsupported_format"),
        (made.save(IMAGE, "GIF"), "unsupported_format"),
        (b"\0\0\0\x18ftypheic" + bytes(64), "unsupported_format"),
        (b"%PDF-1.7", "unsupported_format"),
        (b"\xff\xd8\xff", "truncated"),
        (made.jpeg()[:100], "truncated"),
        (b"\xff\xd8\xff\xd9", "corrupt"),
        (made.with_size(made.jpeg(), 0, 48), "unsupported_jpeg"),  # the height would come later (DNL)
        (made.with_size(made.jpeg(), 32, 0), "corrupt"),
        (made.twelve_bits(made.jpeg()), "unsupported_jpeg"),
        (made.with_segments(made.jpeg(), made.segment(0xDE, bytes(17))), "unsupported_jpeg"),
        (made.with_segments(made.jpeg(), made.segment(0xC0, bytes(17))), "corrupt"),  # two headers
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"\x89PNG\r\n\x1a\n" + made.png_chunk(b"IDAT", b""), "truncated"),
        (b"\x89PNG\r\n\x1a\n" + made.png_chunk(b"IEND", b""), "corrupt"),
        (made.png_bomb(0, 5), "corrupt"),
        (b"RIFF\x04\0\0\0WEBP", "corrupt"),
        (b"RIFF\xff\0\0\0WEBP", "truncated"),
        (made.save(IMAGE, "WEBP").replace(b"\x9d\x01\x2a", b"\x9d\x01\x2a\0\0"), "corrupt"),  # no width
        (b"II*\0\x08\0\0\0", "corrupt"),
        (b"II*\0", "corrupt"),
        (made.oriented(1), "corrupt"),  # a TIFF with no size
        (b"BM", "truncated"),
        (made.save(IMAGE, "BMP")[:18] + bytes(100), "corrupt"),
    ],
)
def test_what_cannot_be_an_image_is_refused_with_a_code(data: bytes, code: str) -> None:
    assert refused(data) == code


@pytest.mark.parametrize("length", [0, 1, 2**16 - 2, 2**16 - 1, 2**16, 3 * 2**16 - 1, 200_000])
def test_a_scan_ends_at_the_first_marker_that_is_no_restart(length: int) -> None:
    whole = made.jpeg()
    start = whole.index(b"\xff\xda") + 2
    start += int.from_bytes(whole[start : start + 2])
    codes = (b"\xff\0\xff\xd0a\xff\xff\xff\xd7" * 30_000)[:length].rstrip(b"\xff")
    codes += bytes(length - len(codes))
    found = jpeg.parse(whole[:start] + codes + b"\xff\xd9\xff\xd9")
    assert found.scan_ends == (start + length,)
    assert found.end == start + length + 2
    assert found.damage is None
    assert jpeg.parse(whole[:start] + codes + b"\xff").damage is not None


BOMBS = [
    (made.with_size(made.jpeg(), 65500, 65500), "too_many_pixels"),
    (made.png_bomb(30_000, 30_000), "too_many_pixels"),
    (made.png_bomb(2**31 - 1, 2**31 - 1), "too_many_pixels"),
    (made.scan_bomb(10_000), "too_many_scans"),
    (b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6, "too_many_pixels"),
    (made.tiff_block([(256, 4, 1, 2**31), (257, 4, 1, 2**31)]), "too_many_pixels"),
    (made.save(IMAGE, "BMP")[:18] + b"\xff\xff\xff\x7f" * 2 + bytes(100), "too_many_pixels"),
]


@pytest.mark.parametrize(("data", "code"), BOMBS)
def test_bombs_are_refused_with_memory_unchanged(data: bytes, code: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        assert refused(data) == code
        with pytest.raises(Quarantine):
            decode_upright(data, DecodeParams())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 2 * len(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024  # kilobytes


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(max_bytes=100), "too_many_bytes"),
        (Limits(max_pixels=24 * 40 - 1), "too_many_pixels"),
        (Limits(max_scans=2), "too_many_scans"),
    ],
)
def test_every_limit_can_be_set(limits: Limits, code: str) -> None:
    data = made.jpeg(made.picture(24, 40), progressive=True)
    read_header(data, Limits())
    assert refused(data, limits) == code


def test_an_animation_begins_with_a_whole_picture_or_is_not_supported() -> None:
    data = made.save(IMAGE, "WEBP", save_all=True, append_images=[IMAGE.rotate(180)], lossless=True)
    frame = data.index(b"ANMF") + 8
    assert data[frame : frame + 12] == b"\0" * 6 + b"\x27\0\0\x17\0\0"
    for start, value in ((0, 1), (6, 0x25)):  # begins further right, ends further left
        moved = data[: frame + start] + bytes([value]) + data[frame + start + 1 :]
        assert refused(moved) == "unsupported_format"


def test_frames_are_counted_up_to_the_limit_even_where_directories_run_in_a_circle() -> None:
    pages = made.save(IMAGE, "TIFF", save_all=True, append_images=[IMAGE, IMAGE])
    assert refused(pages, Limits(max_frames=2)) == "too_many_frames"
    circle = made.tiff_block([(256, 4, 1, 5), (257, 4, 1, 5)])[:-4] + b"\x08\0\0\0"
    assert refused(circle) == "too_many_frames"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": made.oriented(6)}])
def test_a_jpeg_cut_anywhere_is_damaged(options: dict[str, object]) -> None:
    data = made.jpeg(**options)
    for length in range(len(data)):
        try:
            header: Header = read_header(data[:length], Limits())
        except Quarantine as verdict:
            assert verdict.code in ("empty", "unsupported_format", "truncated", "corrupt")
        else:
            assert header.damage is not None
            assert header.damage.code == "truncated"


@pytest.mark.parametrize("length", [40, 60, 100, -20, -13, -12, -1])
def test_a_png_cut_anywhere_is_damaged(length: int) -> None:
    data = made.save(IMAGE, "PNG")[:length]
    try:
        damage = read_header(data, Limits()).damage
    except Quarantine as verdict:
        assert verdict.code == "truncated"
    else:
        assert damage is not None
        assert damage.code == "truncated"


@pytest.mark.parametrize(
    ("data", "damage"),
    [
        (made.jpeg(), None),
        (made.jpeg() + b"what follows the image is nobody's business", None),
        (made.with_segments(made.jpeg(), b"\xff\xff\xff"), None),  # fill bytes are allowed
        (made.with_segments(made.jpeg(), made.segment(0xFE, b""), b"stray"), None),  # told, and no damage
        (made.jpeg(progressive=True)[:-2] + b"\xff\xfe\0\2stray\xff\xd9", "corrupt"),  # left of a scan?
        (made.jpeg()[:-2] + b"\xff\x02\xff\xd9", "corrupt"),
        (made.jpeg()[:-2] + made.jpeg(), "corrupt"),  # a second SOI inside
        (made.jpeg()[:-2], "truncated"),
    ],
)
def test_damage_between_the_markers_is_told(data: bytes, damage: str | None) -> None:
    found = read_header(data, Limits()).damage
    assert (found.code if found else None) == damage


def test_markers_inside_metadata_are_not_taken_for_the_image() -> None:
    thumbnail = made.jpeg(made.picture(8, 8))
    data = made.with_segments(made.jpeg(), made.segment(0xE1, b"Exif\0\0" + thumbnail))
    header = read_header(data, Limits())
    assert header.size == (32, 48)
    assert header.damage is None


def test_walks_end_however_much_there_is_to_walk() -> None:
    no_limits = Limits(max_frames=2**31, max_scans=2**31)
    markers = made.with_segments(made.jpeg(), made.segment(0xFE, b"") * 30_000)
    png = made.png_bomb(8, 8)
    chunks = png[:33] + made.png_chunk(b"tEXt", b"") * 210_000 + png[33:]
    webp = b"RIFF\xff\xff\xff\x7fWEBP" + b"ANMF\0\0\0\0" * 210_000
    for data in (markers, chunks, webp):
        assert refused(data, no_limits) == "corrupt"
    tags = [(256, 4, 1, 5), (257, 4, 1, 5), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)]
    circle = made.tiff_block(tags)[:-4] + b"\x08\0\0\0"
    assert read_header(circle, no_limits).frames > 100


def test_an_icc_profile_in_pieces_is_put_together() -> None:
    profile = np.random.default_rng(0).bytes(150_000)
    data = made.jpeg(icc_profile=profile)
    assert jpeg.icc_profile(data, jpeg.parse(data)) == profile
    assert jpeg.icc_profile(made.jpeg(), jpeg.parse(made.jpeg())) is None


def test_torch_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, ocr.preprocess; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_code_is_documented() -> None:
    root = Path(__file__).parents[1]
    sources = [
        *root.glob("ocr/images/*.py"),
        root / "ocr/preprocess/canonical.py",
        root / "ocr/preprocess/decode.py",
    ]
    pattern = re.compile(r'(?:Quarantine|Damage)\(\s*"(\w+)"')
    codes = {code for source in sources for code in pattern.findall(source.read_text())}
    assert {"corrupt", "truncated", "too_many_scans", "turbojpeg_refused"} <= codes
    documented = set(re.findall(r"`(\w+)`", (root / "docs/reference/images.md").read_text()))
    assert codes <= documented
