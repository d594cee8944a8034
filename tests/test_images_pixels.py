"""Pixels of BMP and PNG files that are accepted are right: against what was written, sample by sample."""

from __future__ import annotations

import io
from collections import Counter
from functools import partial
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support import image_bytes as made
from tests.support import raster_bytes as raster
from tests.support.raster_bytes import page, tiff
from tests.support.right_pixels import BLOCKS, COLOUR, COLOURS, GRAY, RGB, decoded, outcome, refused

BITFIELDS = {
    16: [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F), (0xF00, 0xF0, 0xF), (0x7C00, 0x3E0, 0x1F, 0x8000)],
    32: [
        (0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000, 0), (0x3FF00000, 0xFFC00, 0x3FF),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    ],
}  # fmt: skip


@pytest.mark.parametrize("header", [12, 40, 52, 56, 64, 108, 124])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_with_a_palette_of_any_size_is_read_right(bits: int, header: int) -> None:
    counted: Counter[str] = Counter()
    ramp = np.repeat(np.arange(256)[:, None], 3, axis=1)
    for used, downwards in product((0, 1, 2, 3, 7, 16, 200), (False, True)):
        count = used or 1 << bits
        if count > 1 << bits or (header == 12 and (used or downwards)):
            continue
        black_to_white = np.linspace(0, 255, count).astype(np.int64)[:, None].repeat(3, axis=1)
        for palette in (COLOURS[:count], black_to_white, black_to_white[::-1], ramp[:count]):
            indices = BLOCKS[..., 0] % count
            data = raster.bmp(indices, bits, header=header, palette=palette, used=used, downwards=downwards)
            counted[outcome(data, palette[indices].astype(np.float64), (used, palette))] += 1
    assert set(counted) <= {"right", "unsupported_format"}
    assert counted["right"] >= 0.7 * counted.total()


@pytest.mark.parametrize("header", [52, 56, 108, 124])
@pytest.mark.parametrize("bits", [16, 32])
def test_a_bmp_of_any_masks_is_read_right_or_not_supported(bits: int, header: int) -> None:
    counted: Counter[str] = Counter()
    for masks, downwards in product(BITFIELDS[bits], (False, True)):
        numbers, parts = np.zeros(BLOCKS.shape[:2], np.int64), []
        for index, mask in enumerate(masks):
            shift, top = (mask & -mask).bit_length() - 1, mask >> max((mask & -mask).bit_length() - 1, 0)
            value = BLOCKS[..., index] * top // 65535
            numbers |= value << shift if mask else 0
            parts.append(value / top if top else np.ones(value.shape))
        rgb = np.stack(parts[:3], axis=2) * 255
        seen = header >= 56 and len(masks) > 3
        data = raster.bmp(
            numbers,
            bits,
            header=header,
            compression=3,
            masks=masks[: (header - 40) // 4],
            downwards=downwards,
        )
        wanted = raster.over_white(rgb, parts[3]) if seen else rgb
        counted[outcome(data, wanted, masks)] += 1
    assert set(counted) <= {"right", "unsupported_format"}
    assert counted["right"] >= 4


def test_bmps_of_24_bits_and_of_bits_that_do_not_exist() -> None:
    for header, downwards in ((12, False), (40, True), (124, False)):
        data = raster.bmp(COLOUR[..., ::-1], 24, header=header, downwards=downwards)
        assert outcome(data, COLOUR.astype(np.float64), header) == "right"
    assert refused(raster.bmp(BLOCKS[..., 0] % 4, 2, palette=COLOURS[:4])) == "unsupported_format"
    assert refused(raster.bmp(GRAY[..., 0], 8, compression=4, palette=COLOURS)) == "unsupported_format"


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_png_of_any_colour_type_with_something_transparent_is_read_right(bits: int, colour: int) -> None:
    if (bits < 8 and colour in (2, 4, 6)) or (bits, colour) == (16, 3):
        return
    count = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    samples = BLOCKS[..., :count] >> (16 - bits)
    palette = COLOURS[: 1 << bits] if colour == 3 else None
    rgb = raster.meant(samples, bits, 3 if colour in (2, 6) else 1, palette)
    alphas: dict[bytes | None, NDArray[np.float64]] = {None: np.ones(rgb.shape[:2])}
    if colour in (4, 6):
        alphas = {None: samples[..., -1] / ((1 << bits) - 1)}
    elif colour == 3:
        for table in (np.arange(1 << bits)[::-1] * 7 % 256, np.r_[255, 0]):
            whole = np.r_[table, np.full(256, 255)][: 1 << bits]
            alphas[table.astype(np.uint8).tobytes()] = whole[samples[..., 0]] / 255
    else:
        for level in (samples[5, 5], samples[20, 30]):
            alphas[level.astype(">u2").tobytes()] = 1.0 - (samples == level).all(axis=2)
    for transparent, alpha in alphas.items():
        data = raster.png(samples, bits, colour, transparent=transparent, palette=palette)
        exact = bits < 16 or transparent is None  # Pillow keeps the high bytes, which do not tell
        assert outcome(data, raster.over_white(rgb, alpha), transparent) == (
            "right" if exact else "unsupported_format"
        )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (9, 8), (5, 3), (40, 52)])
@pytest.mark.parametrize(("bits", "colour"), [(1, 0), (4, 3), (8, 2), (8, 4), (16, 6), (16, 0)])
def test_a_png_with_a_whole_stream_of_fewer_rows_is_truncated(
    bits: int, colour: int, size: tuple[int, int], interlaced: bool
) -> None:
    count = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    for samples in (BLOCKS[: size[0], : size[1], :count] >> (16 - bits), np.zeros((*size, count), np.int64)):
        palette = COLOURS[: 1 << bits] if colour == 3 else None
        write = partial(raster.png, samples, bits, colour, palette=palette, interlaced=interlaced)
        assert decoded(write()).shape == (*size, 3)
        assert refused(write(missing=1)) == "truncated"


RGBA = np.dstack([COLOUR, np.zeros((40, 52), np.int64)])


@pytest.mark.parametrize(
    "data",
    [
        raster.bmp(
            RGBA @ np.array([1 << 16, 1 << 8, 1, 1 << 24]), 32, header=124, compression=3,
            masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        ),
        raster.png(RGBA, 8, 6),
        raster.png(RGBA * 257, 16, 6),
        tiff(page(RGBA, 8, RGB, extra=[2])),
        tiff(page(RGBA, 8, RGB)),
        made.save(Image.fromarray(RGBA.astype(np.uint8)), "WEBP", lossless=True, exact=True),
    ],
)  # fmt: skip
def test_alpha_that_is_zero_everywhere_hides_nothing(data: bytes) -> None:
    np.testing.assert_array_equal(decoded(data), COLOUR)


def test_one_pixel_that_is_seen_is_enough_for_the_rest_to_be_clear() -> None:
    for at in ((0, 0), (39, 51)):
        seen = RGBA.copy()
        seen[(*at, 3)] = 255
        got = decoded(raster.png(seen, 8, 6))
        assert (got[at] == COLOUR[at]).all()
        assert (got == 255).all(axis=2).sum() >= 40 * 52 - 1


def test_other_kinds_of_alpha_that_is_zero_everywhere() -> None:
    gray = raster.png(np.dstack([GRAY, 0 * GRAY]), 8, 4)
    np.testing.assert_array_equal(decoded(gray)[..., :1], GRAY)
    for table in (bytes(256), b"\0"):
        indices = GRAY if len(table) > 1 else 0 * GRAY
        data = raster.png(indices, 8, 3, palette=COLOURS, transparent=table)
        np.testing.assert_array_equal(decoded(data), COLOURS[indices[..., 0]])
    assert refused(tiff(page(RGBA, 8, RGB, extra=[1]))) == "unsupported_format"  # the colours are gone


def test_pixels_without_a_fixed_range_are_told_apart() -> None:
    for dtype in (np.float32, np.int32):
        output = io.BytesIO()
        Image.fromarray(np.ones((8, 8), dtype=dtype)).save(output, "TIFF")
        assert refused(output.getvalue()) == "unsupported_pixels"
