"""The upright image file: the raw file itself where it serves, else made from it with nothing lost."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from ocr.images import exif, jpeg, libjpeg_warnings, pillow, png, turbo
from ocr.images.header import Header
from ocr.images.jpeg import Jpeg
from ocr.images.png import Png

Transform = Literal["link", "cleaned", "lossless", "png"]


@dataclass(frozen=True)
class Upright:
    """An upright image file, with no orientation tag other than 1 in it.

    `transform`: `link` (the raw file as it is), `cleaned` (without its metadata, the coded pixels
    untouched), `lossless` (a JPEG turned without touching a coefficient), `png` (pixels turned and
    written losslessly). `warning`: what libjpeg said of damage that it worked round. `notes`: words on
    what was lost all the same, and on warnings that cost nothing.
    """

    data: bytes
    transform: Transform
    warning: str | None = None
    notes: tuple[str, ...] = ()


def make_upright(data: bytes, header: Header, keep_metadata: bool) -> Upright:
    """Make an image upright; metadata is dropped, or kept with the orientation set to 1.

    Raises `Quarantine` where the pixels are needed and do not decode.
    """
    if header.orientation == 1:
        cleaned = _clean(data, header, keep_metadata)
        if cleaned is not None:
            return Upright(cleaned, "link" if cleaned == data else "cleaned")
    elif isinstance(header.structure, Jpeg):
        turned = _turn_coefficients(data, header, keep_metadata)
        if turned is not None:
            return turned
    image, warning, notes = _load_pixels(data, header)
    if pillow.loses_bits(image, header):
        notes = ("low_bytes_dropped",)
    image = pillow.turn(image, header.orientation)
    upright = pillow.to_png(image, _exif(data, header) if keep_metadata else None)
    return Upright(upright, "png", warning, notes)


def _load_pixels(data: bytes, header: Header) -> tuple[Image.Image, str | None, tuple[str, ...]]:
    """Decode the pixels as stored, all bits and channels; give libjpeg's warning, and words as notes."""
    found = header.structure
    if isinstance(found, Jpeg) and found.components != 4:
        with suppress(turbo.TurboError, turbo.TurboUnavailableError):  # then Pillow decides
            array, warning, words = libjpeg_warnings.decode(data, found, 8)
            image = Image.fromarray(array if found.components == 3 else array[..., 0])
            image.info["icc_profile"] = jpeg.icc_profile(data, found)
            return image, warning, words
    return pillow.open_image(data, header), None, ()


def find_damage(data: bytes, header: Header) -> tuple[str | None, tuple[str, ...]]:
    """Decode the pixels, JPEG at an eighth of its size; give libjpeg's warning, and words as notes.

    Raises `Quarantine` where they do not decode.
    """
    found = header.structure
    if isinstance(found, Jpeg):
        with suppress(turbo.TurboError, turbo.TurboUnavailableError):  # then Pillow decides
            _, warning, words = libjpeg_warnings.decode(data, found)
            return warning, words
    pillow.open_image(data, header)
    return None, ()


def _clean(data: bytes, header: Header, keep_metadata: bool) -> bytes | None:
    """Give the file without its metadata: `data` itself where there is none, None where only pixels help."""
    if isinstance(header.structure, Jpeg):
        return jpeg.clean(data, header.structure, keep_metadata)
    if isinstance(header.structure, Png):
        return png.clean(data, header.structure, keep_metadata)
    kept = keep_metadata and b"tiff:Orientation" not in data
    return data if kept or not header.metadata else None


def _turn_coefficients(data: bytes, header: Header, keep_metadata: bool) -> Upright | None:
    """Turn a JPEG losslessly; None where that is not exact, or the library cannot."""
    assert isinstance(header.structure, Jpeg)
    try:
        turned, warning, words = libjpeg_warnings.turn(data, header.structure, header.orientation)
    except (turbo.TurboError, turbo.TurboUnavailableError):
        return None
    if turned is None:
        return None
    upright = jpeg.clean(turned, jpeg.parse(turned), keep_metadata)
    return Upright(upright, "lossless", warning, words)


def _exif(data: bytes, header: Header) -> bytes | None:
    """Give the EXIF block to keep, its orientation set to 1."""
    if isinstance(header.structure, Jpeg):
        blocks = jpeg.exif_blocks(data, header.structure)
    elif isinstance(header.structure, Png):
        blocks = png.exif_blocks(data, header.structure)
    else:
        blocks = []
    return jpeg.EXIF + exif.set_upright(blocks[0]) if blocks else None
