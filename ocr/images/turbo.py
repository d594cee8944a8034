"""TurboJPEG through ctypes: decode, check and turn JPEGs, with every warning of libjpeg seen.

The library is the one that PyTurboJPEG would load; set LD_LIBRARY_PATH to the folder of another. The
calls go straight to it, because PyTurboJPEG gives libjpeg's warnings to Python, which shows each once
per process, and has no lossless transform. The functions used here are in libjpeg-turbo 2.x and 3.x
alike, so that PyTurboJPEG 1.8 and 2.x both serve.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_ubyte, c_ulong, c_void_p
from ctypes.util import find_library
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Values from libjpeg-turbo's turbojpeg.h.
_RGB, _CMYK = 0, 11
_LIMIT_SCANS = 32768
_WARNING = 0
_PERFECT = 1
# EXIF orientation → operation (TJXOP) that makes the image upright.
_OPERATIONS = {1: 0, 2: 1, 3: 6, 4: 2, 5: 3, 6: 5, 7: 4, 8: 7}


_KEPT_BYTES = 128 << 20  # a thread: 44 megapixels
_thread = threading.local()


class TurboError(Exception):
    """libjpeg-turbo gave up on the data, with its own words for why."""


class TurboUnavailableError(Exception):
    """No usable TurboJPEG library on this machine; the text says what was looked for."""


class Pixels(NamedTuple):
    """Decoded pixels, uint8 (H, W, channels), and libjpeg's warning if it gave one."""

    array: NDArray[np.uint8]
    warning: str | None


def fresh(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Give memory of its own, uint8, of a shape."""
    return np.empty(shape, dtype=np.uint8)


def kept(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Give memory, uint8, that this thread's next call gives again: what is in it must be done with by then.

    The allocator gives arrays of that size back to the kernel, which clears each page of the next one: 2 of
    16 ms for a receipt of 6 megapixels. A large image has memory of its own.
    """
    size = math.prod(shape)
    if size > _KEPT_BYTES:
        return fresh(shape)
    memory: NDArray[np.uint8] | None = getattr(_thread, "memory", None)
    if memory is None or len(memory) < size:
        memory = _thread.memory = fresh((size,))
    return memory[:size].reshape(shape)


class _Rectangle(ctypes.Structure):
    _fields_ = [("x", c_int), ("y", c_int), ("w", c_int), ("h", c_int)]


class _Transform(ctypes.Structure):
    _fields_ = [
        ("region", _Rectangle),
        ("operation", c_int),
        ("options", c_int),
        ("data", c_void_p),
        ("filter", c_void_p),
    ]


class _Factor(ctypes.Structure):
    _fields_ = [("numerator", c_int), ("denominator", c_int)]


class _Symbol(ctypes.Structure):
    _fields_ = [
        ("file", c_char_p),
        ("base", c_void_p),
        ("name", c_char_p),
        ("address", c_void_p),
    ]


class Library:
    """The TurboJPEG shared library; any number of threads may call it at once.

    `name` is what the system's loader is asked for, `found` how that name was come by.
    """

    def __init__(self, name: str, found: str) -> None:
        self.found = found
        self._dll = ctypes.CDLL(name)
        handle, data = c_void_p, c_char_p
        for symbol, result, arguments in (
            ("tjInitDecompress", handle, []),
            ("tjInitTransform", handle, []),
            ("tjDestroy", c_int, [handle]),
            ("tjGetErrorCode", c_int, [handle]),
            ("tjGetErrorStr2", c_char_p, [handle]),
            ("tjGetScalingFactors", POINTER(_Factor), [POINTER(c_int)]),
            ("tjDecompressHeader3", c_int, [handle, data, c_ulong, *[POINTER(c_int)] * 4]),
            ("tjDecompress2", c_int, [handle, data, c_ulong, c_void_p, *[c_int] * 5]),
            ("tjTransform", c_int, [handle, data, c_ulong, c_int, POINTER(POINTER(c_ubyte)),
                                    POINTER(c_ulong), POINTER(_Transform), c_int]),
            ("tjFree", None, [c_void_p]),
        ):  # fmt: skip
            function = getattr(self._dll, symbol)
            function.restype, function.argtypes = result, arguments

    @cached_property
    def path(self) -> Path:
        """The file that was loaded."""
        found = _Symbol()
        ctypes.CDLL(None).dladdr(self._dll.tjDecompress2, byref(found))
        return Path((found.file or b"").decode())

    @cached_property
    def version(self) -> str:
        """The version of libjpeg-turbo: no function tells it, but the file holds it as text."""
        found = re.search(rb"libjpeg-turbo version (\d[\w.]*)", self.path.read_bytes())
        return found[1].decode() if found else "unknown"

    @cached_property
    def eighths(self) -> tuple[int, ...]:
        """The M for which decoding at M/8 of the size is offered, up to 8, ascending."""
        count = c_int()
        factors = self._dll.tjGetScalingFactors(byref(count))
        offered = {8 * factors[i].numerator / factors[i].denominator for i in range(count.value)}
        return tuple(sorted(int(m) for m in offered if m <= 8 and m == int(m)))

    def decode(
        self,
        data: bytes,
        size: tuple[int, int],
        eighths: int = 8,
        cmyk: bool = False,
        memory: Callable[[tuple[int, ...]], NDArray[np.uint8]] = fresh,
    ) -> Pixels:
        """Decode a JPEG of a known (height, width) to RGB (or CMYK as stored), at `eighths`/8 of its size.

        `memory` gives what the pixels are written to, `fresh` or `kept`: uint8 of a shape.
        Raises `TurboError` where the library gives up, or where the stream is not of that size. Damage that
        it works round is told in `Pixels.warning`.
        """
        width, height, subsampling, space = c_int(), c_int(), c_int(), c_int()
        scaled = tuple(-(-side * eighths // 8) for side in size)
        pixels = memory((*scaled, 4 if cmyk else 3))
        with self._handle(self._dll.tjInitDecompress) as handle:
            status = self._dll.tjDecompressHeader3(
                handle, data, len(data), byref(width), byref(height), byref(subsampling), byref(space)
            )
            self._check(handle, status)  # what it warns of, decoding does again
            if (height.value, width.value) != size:
                raise TurboError(f"two sizes in one file: {size} and {(height.value, width.value)}")
            status = self._dll.tjDecompress2(
                handle, data, len(data), pixels.ctypes.data, scaled[1], 0, scaled[0],
                _CMYK if cmyk else _RGB, _LIMIT_SCANS,
            )  # fmt: skip
            return Pixels(pixels, self._check(handle, status))

    def transform(self, data: bytes, orientation: int) -> tuple[bytes | None, str | None]:
        """Turn a JPEG upright without touching a coefficient, and give libjpeg's warning if there was one.

        The bytes are None where the turn would not be exact: the image is no whole number of MCUs along
        a mirrored edge. All markers are copied. Raises `TurboError` where the library gives up.
        """
        request = _Transform(_Rectangle(), _OPERATIONS[orientation], _PERFECT, None, None)
        output, length = POINTER(c_ubyte)(), c_ulong()
        with self._handle(self._dll.tjInitTransform) as handle:
            try:
                status = self._dll.tjTransform(
                    handle, data, len(data), 1, byref(output), byref(length), byref(request), _LIMIT_SCANS
                )
                warning = self._check(handle, status)
                return ctypes.string_at(output, length.value), warning
            except TurboError as error:
                if "not perfect" in str(error):
                    return None, None
                raise
            finally:
                self._dll.tjFree(output)

    def _check(self, handle: int, status: int) -> str | None:
        """Give the text of a warning, raise an error, or None when all was well."""
        if status == 0:
            return None
        message: str = self._dll.tjGetErrorStr2(handle).decode(errors="replace")
        if self._dll.tjGetErrorCode(handle) != _WARNING:
            raise TurboError(message)
        return message

    @contextmanager
    def _handle(self, make: Callable[[], int | None]) -> Iterator[int]:
        """Give a new handle for one image (0.7 µs).

        A handle that has seen an image keeps its tables, with which an image that lacks its own would be
        decoded, and after some errors refuses what comes next.
        """
        handle = make()
        if not handle:
            raise MemoryError("libjpeg-turbo has no memory for a handle")
        try:
            yield handle
        finally:
            self._dll.tjDestroy(handle)


def load() -> Library:
    """Give the library that PyTurboJPEG would load, loaded once per process.

    Raises `TurboUnavailableError`, which says why there is none.
    """
    library = _load()
    if isinstance(library, str):
        raise TurboUnavailableError(library)
    return library


@cache
def _load() -> Library | str:
    """Give the first library that serves, or why none does: the search starts a process, so both stay."""
    reasons = []
    for name, found in _candidates():
        try:
            return Library(name, found)
        except OSError as error:
            reasons.append(f"{name} cannot be loaded: {error}")
        except AttributeError as error:
            reasons.append(f"{name} lacks what libjpeg-turbo has since 2.0: {error}")
    return "; ".join(reasons) or "no libturbojpeg on this system (Debian: apt install libturbojpeg0)"


def _candidates() -> Iterator[tuple[str, str]]:
    """Search as PyTurboJPEG does: the system's linker, its list of usual places, LD_LIBRARY_PATH."""
    folders = [Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    if name := find_library("turbojpeg"):
        # Only a name: the loader looks into LD_LIBRARY_PATH before the system's own folders.
        ours = any((folder / name).exists() for folder in folders)
        yield (
            name,
            "named by the system's linker, found through "
            + ("LD_LIBRARY_PATH" if ours else "its own folders"),
        )
    try:
        from turbojpeg import DEFAULT_LIB_PATHS
    except ImportError:
        DEFAULT_LIB_PATHS = {}  # noqa: N806 - PyTurboJPEG's own name
    for path in map(Path, DEFAULT_LIB_PATHS.get(platform.system(), ())):
        if path.exists():
            yield str(path), "one of PyTurboJPEG's usual places, unknown to the system's linker"
    for path in (folder / "libturbojpeg.so.0" for folder in folders):
        if path.exists():
            yield str(path), "in LD_LIBRARY_PATH, unknown to the system's linker"
