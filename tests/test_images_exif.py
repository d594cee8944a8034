"""The orientation in EXIF blocks, whole and damaged."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ocr.images import Limits, exif, read_header
from tests import image_bytes as made

TAG = 0x0112


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_both_byte_orders_as_pillow_reads_them(value: int, order: str) -> None:
    data = made.with_exif(made.jpeg(), made.oriented(value, order))
    assert read_header(data, Limits()).orientation == value
    assert Image.open(io.BytesIO(data)).getexif()[TAG] == value


@pytest.mark.parametrize(
    ("blocks", "value", "note"),
    [
        ([], 1, None),
        ([made.oriented(6)], 6, None),
        ([made.tiff_block([(TAG, 4, 1, 6)])], 6, None),  # LONG, as some write it
        ([made.tiff_block([(0x0110, 3, 1, 7), (TAG, 3, 1, 8)])], 8, None),
        ([made.tiff_block([])], 1, None),
        ([made.oriented(0)], 1, "orientation_invalid"),
        ([made.oriented(9)], 1, "orientation_invalid"),
        ([made.tiff_block([(TAG, 2, 1, 6)])], 1, "orientation_invalid"),  # text
        ([made.oriented(6), made.oriented(6)], 6, None),
        ([made.oriented(6), made.oriented(3)], 6, "exif_duplicate"),
        ([made.tiff_block([(TAG, 3, 1, 8), (TAG, 3, 1, 3)])], 8, "exif_duplicate"),
        ([b""], 1, "exif_corrupt"),
        ([b"II*\0"], 1, "exif_corrupt"),
        ([b"XX*\0" + made.oriented(6)[4:]], 1, "exif_corrupt"),
        ([made.oriented(6)[:12]], 1, "exif_corrupt"),
        ([b"II*\0\xff\xff\xff\xff" + made.oriented(6)[8:]], 1, "exif_corrupt"),  # the directory is elsewhere
        (
            [made.oriented(6)[:8] + b"\x09\0" + made.oriented(6)[10:]],
            6,
            "exif_corrupt",
        ),  # 9 entries, one there
        ([b"garbage", made.oriented(6)], 6, "exif_corrupt"),
    ],
)
def test_what_a_block_says(blocks: list[bytes], value: int, note: str | None) -> None:
    assert exif.read_orientation(blocks) == exif.Orientation(value, note)
    header = read_header(made.with_exif(made.jpeg(), *blocks), Limits())
    assert (header.orientation, header.notes) == (value, (note,) if note else ())


def test_xmp_is_ignored() -> None:
    assert (
        read_header(made.with_segments(made.jpeg(), made.segment(0xE1, made.XMP)), Limits()).orientation == 1
    )


@pytest.mark.parametrize(
    ("block", "harmless"),
    [
        (made.oriented(1), True),
        (made.tiff_block([(TAG, 3, 1, 1), (296, 3, 1, 2), (531, 3, 1, 1)]), True),
        (made.oriented(6), False),
        (made.oriented(0), False),
        (made.GPS, False),
        (made.tiff_block([(0x8825, 4, 1, 0)]), False),
        (made.oriented(1)[:-4] + b"\x08\0\0\0", False),  # a second directory: a thumbnail
        (b"garbage", False),
    ],
)
def test_only_technical_tags_are_harmless(block: bytes, harmless: bool) -> None:
    assert exif.is_harmless(block) is harmless


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"II*\0\x08\0\0\0" + tail))
def test_no_bytes_break_the_reader_and_the_writer_agrees_with_it(block: bytes) -> None:
    assert 1 <= exif.read_orientation([block]).value <= 8
    upright = exif.set_upright(block)
    assert len(upright) == len(block)
    assert exif.read_orientation([upright]).value == 1
