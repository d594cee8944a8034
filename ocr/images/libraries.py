"""The libraries that decide the bytes: their versions for recipes, and where they were found for `doctor`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import PIL.features
import shapely

from ocr.images import turbo


def libjpeg_turbo() -> str:
    """Version of the libjpeg-turbo behind TurboJPEG, or `none`; it is not that of Pillow's own copy."""
    try:
        return turbo.load().version
    except turbo.TurboUnavailableError:
        return "none"


@cache
def pillow() -> str:
    """Version of Pillow, with the libraries inside it that decode and encode."""
    parts = [
        f"{name} {PIL.features.version(name)}"
        for name in ("libjpeg_turbo", "zlib", "webp", "libtiff", "littlecms2")
    ]
    return f"{version('pillow')} ({', '.join(parts)})"


def geos() -> str:
    """Version of GEOS, which repairs polygons for shapely."""
    return str(shapely.geos_version_string)


def describe() -> dict[str, str]:
    """Say for `doctor` which library decodes JPEG, where it was found, and what happens without it."""
    try:
        library = turbo.load()
    except turbo.TurboUnavailableError as error:
        jpeg = f"not found: {error}; JPEG is decoded by Pillow, 2 to 3 times slower"
    else:
        jpeg = f"libjpeg-turbo {library.version} at {library.path}: {library.found}"
    return {"TurboJPEG": jpeg, "Pillow": pillow()}
