"""Mutated image files against our own entry points: each is decoded or quarantined, nothing else.

    python -m tests.fuzz_images --cases 20000 --seed 1

runs in this process, whose address space is capped, and which a case that hangs ends. The exit
status is 0 when every case ended well; otherwise the case that failed is written to a file, and its
number is told, so that `--first` repeats it.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from ocr.preprocess import CanonicalParams, DecodeParams, RawSample, canonicalize, decode_upright
from pipeline.errors import Quarantine
from tests.support import image_bytes as made
from tests.support.fuzzing import fuzz

CAP = 2 * 2**30
"""Bytes of address space beyond what the process has when it starts."""

CANONICAL = (
    CanonicalParams(max_pixels=2_000_000),
    CanonicalParams(max_pixels=2_000_000, integrity="full", on_corrupt="accept", keep_metadata=True),
)
DECODE = (
    DecodeParams(canvas=(64, 64), max_pixels=2_000_000),
    DecodeParams(
        canvas=(64, 64), max_pixels=2_000_000, on_corrupt="accept", icc_to_srgb=True, dct_scaling="safe"
    ),
)


def seeds() -> list[bytes]:
    """One small file of every kind."""
    colour = Image.fromarray(made.picture(24, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = made.jpeg(made.picture(24, 40), icc_profile=made.linear_profile())
    return [
        made.with_exif(plain, made.GPS),
        made.with_exif(made.jpeg(made.picture(37, 53), progressive=True), made.oriented(8, ">")),
        made.jpeg(made.picture(16, 16), restart_marker_blocks=1),
        made.ARITHMETIC,
        made.save(colour.convert("L"), "JPEG"),
        made.save(colour.convert("CMYK"), "JPEG"),
        made.save(colour, "MPO", save_all=True, append_images=[colour]),
        made.save(colour, "PNG", exif=exif, icc_profile=made.linear_profile()),
        made.save(colour.quantize(16), "PNG", transparency=bytes(16)),
        made.save(colour, "PNG", save_all=True, append_images=[colour.rotate(180)]),
        made.png16(made.picture(8, 8).astype(np.uint16)),
        made.tiff16(made.picture(8, 8).astype(np.uint16), orientation=6),
        made.save(colour, "WEBP", exif=exif),
        made.save(colour, "WEBP", save_all=True, append_images=[colour.rotate(180)]),
        made.save(colour, "TIFF", exif=exif, compression="tiff_lzw"),
        made.save(colour, "TIFF", compression="jpeg"),
        made.save(colour.convert("1"), "TIFF", compression="group4"),
        made.save(colour.quantize(16), "BMP"),
    ]


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """Change a file in one to four places."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 5)):
        # Most of what can go wrong lies in headers: half of the changes fall into the first 200 bytes.
        reach = min(len(changed), 200) if random.random() < 0.5 else len(changed)
        if reach < 8:
            break
        at = int(random.integers(0, reach - 4))
        match random.integers(0, 7):
            case 0:
                changed[at] ^= 1 << int(random.integers(0, 8))
            case 1:
                changed[at] = int(random.choice([0x00, 0x01, 0x7F, 0x80, 0xFF]))
            case 2:
                extreme = int(random.choice([0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
                changed[at : at + 4] = struct.pack("<I" if random.random() < 0.5 else ">I", extreme)
            case 3:
                del changed[at : at + int(random.integers(1, 40))]
            case 4:
                changed[at:at] = random.bytes(int(random.integers(1, 40)))
            case 5:
                other = int(random.integers(0, len(changed)))
                changed[at:at] = changed[other : other + int(random.integers(1, 200))]
            case _:
                del changed[at + 4 :]
    return bytes(changed)


def case(number: int, seed: int, files: list[bytes]) -> bytes:
    """Give case `number`: the same for the same seed, whatever ran before."""
    random = np.random.default_rng((seed, number))
    return mutate(files[number % len(files)], random)


def attempt(data: bytes, folder: Path) -> str:
    """Run a file through both stages; give `decoded` or the code of the verdict. Nothing else may happen."""
    path = folder / "case"
    path.write_bytes(data)
    outcome = ""
    for canonical, decode in zip(CANONICAL, DECODE, strict=True):
        try:
            upright = canonicalize(RawSample(path), canonical)
            result = decode_upright(upright.upright, decode)
        except Quarantine as verdict:
            outcome = verdict.code
            continue
        if result.image.shape != (3, 64, 64) or not np.isfinite(result.matrix).all():
            raise AssertionError(f"a decoded image of shape {result.image.shape}")
        outcome = "decoded"
    return outcome


def silence_libraries() -> TextIO:
    """Send the C libraries' standard error nowhere (libtiff tells all); give a way that stays."""
    own = os.fdopen(os.dup(2), "w")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path
        os.dup2(nowhere.fileno(), 2)
    return own


def main() -> int:
    """Run the cases that the command line asks for."""
    sys.stderr = silence_libraries()
    files = seeds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        attempt(files[0], folder)  # torch and the library are loaded before the cap
        return fuzz(
            __doc__,
            CAP,
            lambda number, seed: case(number, seed, files),
            lambda data, _: attempt(data, folder),
        )


if __name__ == "__main__":
    sys.exit(main())
