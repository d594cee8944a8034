"""From the bytes of an upright image file to its pixels on the canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ocr.geometry import Letterbox, Padding, Size, letterbox
from ocr.images import (
    Damage,
    Header,
    Jpeg,
    Limits,
    accepted,
    jpeg,
    libjpeg_warnings,
    pillow,
    place,
    read_header,
    resize,
    turbo,
)
from pipeline.errors import ConfigError, Quarantine

Level = Annotated[int, Field(ge=0, le=255)]
Side = Annotated[int, Field(ge=1, le=16_384)]


class DecodeParams(Limits):
    """How pixels come out of a file and onto the canvas."""

    canvas: tuple[Side, Side] = (640, 640)
    """Height and width."""
    padding: Padding = "bottom_right"
    """Where the part of the canvas lies that the image leaves empty."""
    pad_value: Level = 0
    """The grey level of that part."""
    use_turbojpeg: bool = True
    """Decode JPEG by TurboJPEG."""
    turbojpeg_fallback: bool = True
    """Let Pillow decode what TurboJPEG refuses, and every JPEG where the library is missing."""
    dct_scaling: Literal["off", "safe"] = "off"
    """`safe` lets TurboJPEG decode at the smallest M/8 that leaves at least twice the target size."""
    icc_to_srgb: bool = False
    """Apply the file's ICC profile."""
    background: tuple[Level, Level, Level] = (255, 255, 255)
    """What shows through transparent pixels: R, G, B."""
    on_corrupt: Literal["quarantine", "accept"] = "quarantine"
    """What becomes of a file that decodes with a warning; `accept` records it in field `decoder`."""

    def letterbox(self, size: Size) -> Letterbox:
        """Say how an upright image of (height, width) `size` lies on the canvas."""
        return letterbox(size, self.canvas, self.padding)


@dataclass(frozen=True)
class Decoded:
    """An image on the canvas.

    `image`: uint8 (3, H, W), RGB, C-contiguous. `matrix`: float64 (3, 3), upright pixel → canvas pixel.
    `decoder`: `turbojpeg` or `pillow@<why>`, and a word for each liberty taken (`accepted_corrupt@…`).
    """

    image: NDArray[np.uint8]
    matrix: NDArray[np.float64]
    decoder: str


@dataclass(frozen=True)
class _Pixels:
    """RGB, uint8 (H, W, 3), to be resized; words; an ICC profile still to apply."""

    rgb: NDArray[np.uint8]
    words: tuple[str, ...]
    profile: bytes | None


def decode_upright(data: bytes, params: DecodeParams) -> Decoded:
    """Decode an upright image file and place it on the canvas.

    The same bytes and parameters give the same pixels. A file whose orientation is not 1 is refused:
    `canonicalize` comes first. Raises `Quarantine` (docs/reference/images.md lists the codes) and, where
    TurboJPEG is asked for with no fallback and is missing, `ConfigError`.
    """
    header = read_header(data, params)
    if header.orientation != 1:
        raise Quarantine("not_upright", f"EXIF orientation {header.orientation}; canonicalize the file first")
    box = params.letterbox(header.size)
    pixels = _decode(data, header, (box.height, box.width), params)
    resized = resize(pixels.rgb, (box.height, box.width))
    if pixels.profile is not None:
        # After the resize: on a hundredth of the pixels, and with no second copy of a large image.
        resized = pillow.to_srgb(resized, pixels.profile)
    image = place(resized, box, params.canvas, params.pad_value)
    return Decoded(image, box.matrix, " ".join(pixels.words))


def _decode(data: bytes, header: Header, target: Size, params: DecodeParams) -> _Pixels:
    """Decode by TurboJPEG where it can and may, by Pillow otherwise."""
    words: tuple[str, ...] = ()
    if header.damage is not None:
        words = (_accept(header.damage, params),)
    if header.frames > 1:
        words += (f"first_frame@{header.frames}",)
    found = header.structure
    if not isinstance(found, Jpeg):
        return _by_pillow(data, header, header.format, words, params)
    if not params.use_turbojpeg:
        return _by_pillow(data, header, "turbojpeg_off", words, params)
    try:
        array, warning, harmless = _by_turbojpeg(data, found, target, params.dct_scaling)
    except turbo.TurboUnavailableError as error:
        if not params.turbojpeg_fallback:
            raise ConfigError(
                f"stages.decode wants TurboJPEG, and there is none: {error}; install it, or set "
                "stages.decode.turbojpeg_fallback=true to decode by Pillow"
            ) from error
        return _by_pillow(data, header, "no_library", words, params)
    except turbo.TurboError as error:
        if not params.turbojpeg_fallback:
            raise Quarantine("turbojpeg_refused", f"TurboJPEG: {error}; turbojpeg_fallback is off") from error
        return _by_pillow(data, header, "refused", words, params)
    words += harmless
    if warning:
        words += (_accept(Damage("corrupt", warning), params),)
    if found.components == 4:
        if not params.turbojpeg_fallback:
            raise Quarantine("turbojpeg_refused", "CMYK is decoded by Pillow; turbojpeg_fallback is off")
        return _by_pillow(data, header, "cmyk", words, params)
    profile = jpeg.icc_profile(data, found) if params.icc_to_srgb else None
    return _Pixels(array, ("turbojpeg", *words), profile)


def _by_turbojpeg(
    data: bytes, found: Jpeg, target: Size, scaling: Literal["off", "safe"]
) -> tuple[NDArray[np.uint8], str | None, tuple[str, ...]]:
    """Decode to RGB; CMYK as it is and small, only for the warning: Pillow, whose it is, gives none."""
    if found.components == 4:
        return libjpeg_warnings.decode(data, found)
    eighths = _safe_eighths((found.height, found.width), target, turbo.load().eighths)
    return libjpeg_warnings.decode(data, found, eighths if scaling == "safe" else 8, turbo.kept)


def _safe_eighths(size: Size, target: Size, offered: tuple[int, ...]) -> int:
    """Choose the smallest M/8 that leaves at least twice the target on both sides."""
    for eighths in offered:
        if all(-(-side * eighths // 8) >= 2 * wanted for side, wanted in zip(size, target, strict=True)):
            return eighths
    return 8


def _by_pillow(
    data: bytes, header: Header, why: str, words: tuple[str, ...], params: DecodeParams
) -> _Pixels:
    """Decode, and convert band by band."""
    image = pillow.open_image(data, header)
    rgb, top = np.empty((image.height, image.width, 3), np.uint8), 0
    for band in pillow.rgb_bands(image, params.background, params.icc_to_srgb):
        rgb[top : top + len(band)] = band
        top += len(band)
    # The bands of a CMYK image went through its profile already.
    left = params.icc_to_srgb and image.mode != "CMYK"
    profile = image.info.get("icc_profile") if left else None
    return _Pixels(rgb, (f"pillow@{why}", *words), profile)


def _accept(damage: Damage, params: DecodeParams) -> str:
    """Give the word that records damage which parameters accept; otherwise raise `Quarantine`."""
    if params.on_corrupt == "quarantine":
        raise Quarantine(*damage)
    return accepted(damage)
