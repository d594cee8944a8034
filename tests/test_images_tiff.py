"""Pixels of TIFF files that are accepted are right, whatever the kind and the layout."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr.images import Limits, read_header
from tests.support import image_bytes as made
from tests.support import raster_bytes as raster
from tests.support.raster_bytes import Page, page, tiff
from tests.support.right_pixels import (
    BLACK_IS_ZERO,
    BLOCKS,
    CMYK,
    COLOUR,
    COLOURS,
    GRAY,
    LAB,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    decoded,
    outcome,
    refused,
)


def tiff_case(
    bits: int, photometric: int, extra: tuple[int, ...], **layout: object
) -> tuple[bytes, NDArray[np.float64]]:
    """A TIFF, and the pixels that it means."""
    colours = {RGB: 3, CMYK: 4}.get(photometric, 1)
    top = (1 << bits) - 1
    samples = BLOCKS[..., : colours + len(extra)] >> (16 - bits)
    alpha = samples[..., colours] / top if extra[:1] in ((1,), (2,)) else np.ones(samples.shape[:2])
    if extra[:1] == (1,):  # colours were multiplied by alpha
        samples = samples.copy()
        samples[..., :colours] = np.round(samples[..., :colours] * alpha[..., None])
    palette = COLOURS[: 1 << min(bits, 8)] if photometric == PALETTE else None
    if palette is not None:
        samples = samples % len(palette)
    rgb = raster.meant(samples, bits, colours, palette)
    if photometric == WHITE_IS_ZERO:
        rgb = 255 - rgb
    wanted = rgb + 255 * (1 - alpha[..., None]) if extra[:1] == (1,) else raster.over_white(rgb, alpha)
    order = str(layout.get("order", "<"))
    whole = page(samples, bits, photometric, extra=extra, palette=palette, **layout)  # type: ignore[arg-type]
    return tiff(whole, order=order), wanted


LAYOUTS = [
    {"order": order, "planes": planes, "compression": compression, **shape, **more}
    for order, planes, compression, shape, more in product(
        "<>",
        (1, 2),
        (1, 8, 32773),
        ({}, {"tile": 16}, {"rows": 16}),
        ({}, {"fill_order": 2}, {"predictor": 2}),
    )
    if compression == 8 or "predictor" not in more
]
EXTRAS = ((), (0,), (1,), (2,), (0, 0), (2, 0))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK])
def test_a_tiff_of_any_kind_is_read_right_or_not_supported(photometric: int, bits: int) -> None:
    counted: Counter[str] = Counter()
    cases = [
        (extra, layout)
        for extra, layout in product(EXTRAS, LAYOUTS)
        if bits in (8, 16) or "predictor" not in layout
    ]
    chosen = np.random.default_rng((photometric, bits)).permutation(len(cases))[:60]
    for extra, layout in (cases[index] for index in chosen):
        data, wanted = tiff_case(bits, photometric, extra, **layout)
        counted[outcome(data, wanted, (extra, layout))] += 1
    assert set(counted) <= {"right", "unsupported_format"}


@pytest.mark.parametrize(
    ("photometric", "bits", "extra"),
    [
        *product((WHITE_IS_ZERO,), (1, 2, 4, 8), [()]),
        *product((BLACK_IS_ZERO,), (1, 2, 4, 8, 16), [()]),
        *product((PALETTE,), (1, 2, 4, 8), [()]),
        *product((RGB, CMYK), (8, 16), [()]),
        *product((BLACK_IS_ZERO, PALETTE), (8,), [(0,), (2,)]),
        *product((RGB,), (8,), [(0,), (1,), (2,), (0, 0), (2, 0)]),
        *product((RGB,), (16,), [(0,), (2,)]),
        *product((CMYK,), (8,), [(0,), (0, 0)]),
    ],
)
def test_usual_tiffs_are_accepted_in_either_order_and_whatever_the_layout(
    photometric: int, bits: int, extra: tuple[int, ...]
) -> None:
    for layout in LAYOUTS:
        if layout["planes"] == 1 and "fill_order" not in layout and (bits >= 8 or "predictor" not in layout):
            assert outcome(*tiff_case(bits, photometric, extra, **layout), layout) == "right", layout


def test_planes_of_eight_bits_and_fax_bits_in_reverse_order_are_accepted() -> None:
    for photometric in (RGB, CMYK):
        assert outcome(*tiff_case(8, photometric, (), planes=2), "planes") == "right"
    for photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        assert outcome(*tiff_case(1, photometric, (), fill_order=2), "order") == "right"


SMALL = page(GRAY[:10, :13], 8, BLACK_IS_ZERO)
LARGE = page(GRAY, 8, BLACK_IS_ZERO)


def marked(one: Page, kind: int, tag: int = 254) -> Page:
    return Page({**one.tags, tag: (4, [kind])}, one.chunks, one.inner)


@pytest.mark.parametrize(
    "data",
    [
        tiff(page(GRAY, 8, BLACK_IS_ZERO, more={339: (3, [2])})),  # signed
        tiff(page(GRAY, 8, BLACK_IS_ZERO, more={262: (3, [4])})),  # a mask
        tiff(page(GRAY, 8, BLACK_IS_ZERO, more={262: (3, [32803])})),  # a sensor's mosaic
        tiff(page(GRAY, 8, BLACK_IS_ZERO, more={259: (3, [34712])})),  # JPEG 2000
        tiff(page(GRAY, 8, BLACK_IS_ZERO, more={259: (3, [6])})),  # the old kind of JPEG
        tiff(page(COLOUR, 8, LAB)),
        tiff(page(COLOUR, 8, YCBCR)),  # subsampled unless it says that it is not
        tiff(page(BLOCKS[..., :4] >> 8, 8, CMYK, more={332: (3, [2])})),  # other inks
        tiff(page(GRAY, 8, PALETTE, more={320: (3, [7] * 768)})),  # a palette of 8 bits
        tiff(page(GRAY, 8, PALETTE, more={320: (3, [7000] * 48)})),  # one that is too short
        tiff(Page({256: (4, [8]), 257: (4, [8])}, [bytes(64)])),  # says nothing of its pixels
        tiff(marked(SMALL, 1), LARGE),
        tiff(marked(SMALL, 2, tag=255), LARGE),
        tiff(marked(LARGE, 4), LARGE),
        tiff(SMALL, LARGE),
        tiff(Page(SMALL.tags, SMALL.chunks, [LARGE])),
        tiff(Page(LARGE.tags, [*LARGE.chunks, b"more"])),
        tiff(page(GRAY, 8, BLACK_IS_ZERO, predictor=2)),  # readers disagree whether it counts
        b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + made.tiff_block([(256, 4, 1, 8), (257, 4, 1, 8)])[8:],
    ],
)
def test_a_tiff_that_is_something_else_at_second_sight_is_not_supported(data: bytes) -> None:
    assert refused(data) == "unsupported_format"


@pytest.mark.parametrize(
    "data",
    [
        tiff(marked(LARGE, 2), marked(LARGE, 2)),  # pages of a document
        tiff(marked(SMALL, 2), marked(LARGE, 2)),
        tiff(LARGE, marked(SMALL, 1)),
        tiff(LARGE, SMALL),
        tiff(Page(LARGE.tags, LARGE.chunks, [marked(SMALL, 1), SMALL])),  # a pyramid
        tiff(page(GRAY[:20], 8, BLACK_IS_ZERO), LARGE),  # pages of other shapes
    ],
)
def test_the_first_of_several_pictures_is_taken_where_it_is_one(data: bytes) -> None:
    height, width = read_header(data, Limits()).size
    np.testing.assert_array_equal(decoded(data)[..., 0], GRAY[:height, :width, 0])
