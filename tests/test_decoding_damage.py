"""A damaged image is a verdict every time, or its damage is recorded."""

from __future__ import annotations

import numpy as np
import pytest

from ocr.images import turbo
from ocr.preprocess import DecodeParams, decode_upright
from tests.support import image_bytes as made
from tests.support.decoding import COLOUR, LARGE, verdict


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


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
