"""The orientation in EXIF blocks, whole and damaged."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ocr.images import Limits, exif, make_upright, read_header
from tests.support import image_bytes as made

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


def xmp(value: object, form: str = 'tiff:Orientation="{}"') -> bytes:
    return b"<x " + form.format(value).encode() + b"/>"


def in_jpeg(exif: bytes | None, packet: bytes) -> bytes:
    data = made.with_segments(made.jpeg(), made.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet))
    return made.with_exif(data, exif) if exif else data


def in_png(exif: bytes | None, packet: bytes, kind: bytes = b"iTXt") -> bytes:
    data = made.save(PICTURE, "PNG")
    body = {
        b"iTXt": b"\0\0\0\0" + packet,
        b"iTXz": b"\1\0en\0word\0" + zlib.compress(packet),
        b"tEXt": packet,
        b"zTXt": b"\0" + zlib.compress(packet),
    }[kind]
    chunks = made.png_chunk(kind.replace(b"iTXz", b"iTXt"), b"XML:com.adobe.xmp\0" + body)
    chunks += made.png_chunk(b"eXIf", exif) if exif else b""
    return data[:33] + chunks + data[33:]


def in_webp(exif: bytes | None, packet: bytes) -> bytes:
    return made.save(PICTURE, "WEBP", lossless=True, xmp=packet, **({"exif": exif} if exif else {}))


def in_tiff(exif: bytes | None, packet: bytes) -> bytes:
    tags: dict[int, object] = {700: packet}
    if exif:
        tags[TAG] = int.from_bytes(exif[-8:-6], "little")
    return made.save(PICTURE, "TIFF", tiffinfo=tags)


def in_profile(exif: bytes | None, packet: bytes, name: bytes = b"Raw profile type exif") -> bytes:
    """As ImageMagick writes EXIF into a PNG, with XMP beside it."""
    block = b"Exif\0\0" + (exif or made.tiff_block([]))
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    data = in_png(None, packet)
    return data[:33] + made.png_chunk(b"zTXt", name + b"\0\0" + zlib.compress(text)) + data[33:]


PICTURE = Image.fromarray(made.picture())
HOLDERS = (in_jpeg, in_png, in_webp, in_tiff, in_profile)


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("stated", [None, 1, 3, 6])
@pytest.mark.parametrize(
    "packet",
    [
        b"<x/>",
        xmp(6),
        xmp(8, "<tiff:Orientation>{}</tiff:Orientation>"),
        xmp(1),
        xmp(9),
        xmp(6, "Orientation={}"),
    ],
)
def test_xmp_counts_where_exif_is_silent_as_in_pillow(
    holder: Callable[[bytes | None, bytes], bytes], stated: int | None, packet: bytes
) -> None:
    data = holder(made.oriented(stated) if stated else None, packet)
    header = read_header(data, Limits())
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    result = make_upright(data, header, keep_metadata=False)
    got = np.asarray(Image.open(io.BytesIO(result.data)).convert("RGB"))
    assert np.abs(got.astype(int) - np.asarray(shown.convert("RGB"))).max() <= 4
    assert header.upright_size == shown.size[::-1]
    by_xmp = {xmp(6): 6, xmp(8, "<tiff:Orientation>{}</tiff:Orientation>"): 8, xmp(1): 1, xmp(9): 9}.get(
        packet
    )
    if stated is None:
        note = {6: "orientation_by_xmp", 8: "orientation_by_xmp", 9: "orientation_invalid"}.get(by_xmp or 1)
    else:
        note = None if by_xmp in (None, stated) else "orientation_contradicted"
    assert header.notes == ((note,) if note else ())
    assert header.orientation == (stated or {6: 6, 8: 8}.get(by_xmp or 1, 1))


@pytest.mark.parametrize("kind", [b"iTXt", b"iTXz", b"tEXt", b"zTXt"])
def test_every_kind_of_text_in_a_png_is_read(kind: bytes) -> None:
    data = in_png(None, xmp(6), kind)
    assert read_header(data, Limits()).orientation == 6
    assert Image.open(io.BytesIO(data)).getexif()[TAG] == 6


def test_a_raw_profile_counts_only_where_it_is_one_and_there_is_no_other() -> None:
    raw = in_profile(made.oriented(6), b"")
    assert read_header(raw, Limits()).orientation == 6
    both = raw[:33] + made.png_chunk(b"eXIf", made.oriented(3)) + raw[33:]
    assert read_header(both, Limits()).orientation == 3
    assert read_header(in_profile(made.oriented(6), b"", b"Raw profile type APP1"), Limits()).orientation == 1
    for text in (b"", b"\nexif\n 8\nno digits", b"\nexif\n 8\n4578"):
        data = made.save(PICTURE, "PNG")
        data = data[:33] + made.png_chunk(b"tEXt", b"Raw profile type exif\0" + text) + data[33:]
        header = read_header(data, Limits())
        assert (header.orientation, header.notes) == (1, ("exif_corrupt",))


def test_a_raw_profile_that_is_kept_becomes_exif_and_is_upright() -> None:
    data = in_profile(made.GPS, b"")
    kept = make_upright(data, read_header(data, Limits()), keep_metadata=True).data
    exif = Image.open(io.BytesIO(kept)).getexif()
    assert (exif[TAG], exif[0x010F]) == (1, "Acme")


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
