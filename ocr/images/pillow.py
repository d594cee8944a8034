"""Pillow, fenced in: the one format that the content shows, failures as verdicts, no global left changed."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ocr.images import jpeg, png, tiff
from ocr.images.header import Header
from ocr.images.jpeg import Jpeg
from ocr.images.png import Png
from pipeline.errors import Quarantine

Colour = tuple[int, int, int]
Result = TypeVar("Result")

_BAND = 256
"""Rows converted at a time: a large image is never held whole in a second pixel format."""

_BITS_PER_SAMPLE, _EXTRA_SAMPLES = 258, 338
_ASSOCIATED = 1
_opening = threading.Lock()  # Pillow's limit and the filters of warnings are the process's: one at a time
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(data: bytes, header: Header) -> Image.Image:
    """Open and load the first frame, as stored.

    Raises `Quarantine`: `corrupt`, `truncated`, `too_many_pixels`, `unsupported_format`.
    """
    image = _verdict(lambda: _open(_picture(data, header), header))
    if image.size[::-1] != header.size:
        raise Quarantine("corrupt", f"the header says {header.size} and the decoder {image.size[::-1]}")
    _verdict(image.load)
    last = image.crop((0, max(0, image.height - 2), *image.size))  # of an interlaced picture, one of the two
    blank = not np.asarray(last).reshape(last.height, -1).any(axis=1).all()
    if blank and isinstance(header.structure, Png) and png.ends_early(data, header.structure):
        raise Quarantine("truncated", "the pixels end before the last row")
    image.info["icc_profile"] = _icc_profile(data, header) or image.info.get("icc_profile")
    return image


def _picture(data: bytes, header: Header) -> bytes:
    """Give the file with nothing but its picture: Pillow refuses some for their metadata, and turns TIFFs."""
    if isinstance(header.structure, Jpeg):
        return jpeg.picture(data, header.structure)
    if isinstance(header.structure, Png):
        return png.picture(data, header.structure)
    if header.format == "tiff":
        return tiff.picture(data)
    if header.format == "bmp" and data[14] > 12 and data[28] in (4, 8) and data[46] in (1, 2):
        # Where a palette has two colours, black and white, Pillow takes the pixels for single bits.
        return data[:46] + b"\3" + data[47:]
    return data


def _icc_profile(data: bytes, header: Header) -> bytes | None:
    if isinstance(header.structure, Jpeg):
        return jpeg.icc_profile(data, header.structure)
    if isinstance(header.structure, Png):
        return png.icc_profile(data, header.structure)
    return tiff.icc_profile(data) if header.format == "tiff" else None


def _open(data: bytes, header: Header) -> Image.Image:
    """Parse the file; Pillow's warnings about metadata are noise here, that about bombs is an error.

    Pillow's own limit gives way to the pixels of the header, which passed `max_pixels`, and to no more.
    """
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        limit = Image.MAX_IMAGE_PIXELS
        try:
            if limit is not None:
                Image.MAX_IMAGE_PIXELS = max(limit, header.height * header.width)
            return Image.open(io.BytesIO(data), formats=(header.format.upper(),))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _verdict(action: Callable[[], Result]) -> Result:
    """Run a call into Pillow; its plugins raise almost any exception on damaged data."""
    try:
        return action()
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Quarantine("too_many_pixels", f"Pillow's own limit: {error}") from error
    except Exception as error:
        message = str(error).lower()
        known = {"truncated": "truncated", "unsupported": "unsupported_format", "codec": "unsupported_format"}
        code = next((known[word] for word in known if word in message), "corrupt")
        raise Quarantine(code, f"Pillow: {type(error).__name__}: {error}") from error


def loses_bits(image: Image.Image, header: Header) -> bool:
    """Tell of a loaded image whether Pillow, which has no 16-bit colour, kept the high bytes only."""
    stored = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
    bits = header.structure.bits if isinstance(header.structure, Png) else max(stored, default=8)
    return bits == 16 and image.mode in ("LA", "RGB", "RGBA", "CMYK")


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image upright; its mode, palette and transparency stay."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def to_png(image: Image.Image, exif: bytes | None = None) -> bytes:
    """Write an image losslessly, its ICC profile kept, and nothing else but `exif` where it is given.

    CMYK and YCbCr, which PNG has not, are converted to RGB first (without the profile).
    """
    if image.mode not in ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"):
        image = _verdict(lambda: image.convert("RGBA" if "A" in image.getbands() else "RGB"))
        image.info.pop("icc_profile", None)
    output = io.BytesIO()
    extra = {"exif": exif} if exif else {}
    icc_profile = image.info.get("icc_profile")
    # Level 1: on photographs the files are as small as those of level 6, in less than a third of the time.
    image.save(output, "PNG", compress_level=1, icc_profile=icc_profile, **extra)
    return output.getvalue()


def rgb_bands(image: Image.Image, background: Colour, srgb: bool = False) -> Iterator[NDArray[np.uint8]]:
    """Convert a loaded image to RGB, uint8 (h, W, 3), in bands from top to bottom.

    Transparency is laid over `background`, unless nothing is to be seen then: alpha that is 0 everywhere
    was never filled in. Of 16 bits the high byte is kept; CMYK goes through its ICC profile with `srgb`,
    and through Pillow's plain formula otherwise. Raises `Quarantine` (`unsupported_format`) where colours
    that were multiplied by such an alpha are lost.
    """
    transform = _cmyk_transform(image) if srgb and image.mode == "CMYK" else None
    see_through = "transparency" in image.info or "A" in image.getbands()
    if see_through and not any(_alpha(band).getbbox() for band in _bands(image)):
        see_through = False
        image.info.pop("transparency", None)
        if getattr(image, "tag_v2", {}).get(_EXTRA_SAMPLES, (0,))[0] == _ASSOCIATED:
            raise Quarantine("unsupported_format", "alpha is 0 everywhere, and colours were multiplied by it")
    for band in _bands(image):
        if transform is not None:
            yield np.array(ImageCms.applyTransform(band, transform))
        elif band.mode.startswith("I"):
            gray = (np.asarray(band).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
            yield np.repeat(gray[..., None], 3, axis=2)
        elif see_through:
            under = Image.new("RGBA", band.size, (*background, 255))
            yield np.array(Image.alpha_composite(under, band.convert("RGBA")).convert("RGB"))
        else:
            yield np.array(band.convert("RGB"))


def _bands(image: Image.Image) -> Iterator[Image.Image]:
    for top in range(0, image.height, _BAND):
        yield image.crop((0, top, image.width, min(top + _BAND, image.height)))


def _alpha(band: Image.Image) -> Image.Image:
    return band.convert("RGBA").getchannel("A")


def _cmyk_transform(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    profile = image.info.get("icc_profile")
    return None if profile is None else _transform(profile, "CMYK")


def to_srgb(rgb: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    """Bring RGB (or gray as three equal channels), uint8 (H, W, 3), from an ICC profile to sRGB.

    Perceptual intent, by LittleCMS. Raises `Quarantine` (`bad_icc_profile`) where the profile cannot be used.
    """
    gray = profile[16:20] == b"GRAY"
    image = Image.fromarray(np.ascontiguousarray(rgb[..., 0]) if gray else rgb)
    transform = _transform(profile, "L" if gray else "RGB")
    return np.asarray(ImageCms.applyTransform(image, transform))


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), mode, "RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise Quarantine("bad_icc_profile", f"the ICC profile cannot be used: {error}") from error
