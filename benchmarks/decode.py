"""Decode: the stage against a bare loop, DCT-scaled decoding against full, and memory at its peak.

    OMP_NUM_THREADS=1 python -m benchmarks.decode [FOLDER_OF_JPEGS]

The bare loop is PyTurboJPEG's decode and the same resize, and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import turbojpeg
from PIL import Image

from benchmarks.measure import arguments, compare_cases, parse, show
from benchmarks.receipts import kind_of, receipts_in
from benchmarks.record import Row
from ocr.geometry import letterbox
from ocr.images import Limits, read_header, resize
from ocr.preprocess import DecodeParams, decode_upright

FULL = DecodeParams()
SAFE = DecodeParams(dct_scaling="safe")
BARE = turbojpeg.TurboJPEG()
PEAK = """
import re, sys
from pathlib import Path
from ocr.preprocess import DecodeParams, decode_upright

for path in sys.argv[1:]:
    decode_upright(Path(path).read_bytes(), DecodeParams())
# Not `getrusage`, which inherits the peak of the parent.
print(int(re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[0]) << 10)
"""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="of JPEGs; drawn receipts otherwise")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", type=int, default=1, help="every so many images")
    parser.add_argument("--samples", type=int, default=24, help="receipts to draw where no folder is given")
    options = parse(parser)
    with receipts_in(options.folder, options.samples) as folder:
        images = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    images = images[:: options.step]
    speed(images, options.rounds, kind_of(options.folder))
    error(images)
    memory(max(images, key=megapixels))


def megapixels(data: bytes) -> float:
    """Size of an image."""
    height, width = read_header(data, Limits()).size
    return height * width / 1e6


def speed(images: list[bytes], rounds: int, kind: str) -> None:
    """The bare loop, the stage, and the stage with DCT scaling."""

    def bare(data: bytes) -> None:
        pixels = BARE.decode(data, pixel_format=turbojpeg.TJPF_RGB)
        box = letterbox(pixels.shape[:2], FULL.canvas)
        resize(pixels, (box.height, box.width))

    sides = {
        "bare loop": bare,
        "stage": lambda data: decode_upright(data, FULL),
        "stage, dct_scaling=safe": lambda data: decode_upright(data, SAFE),
    }
    found = compare_cases(sides, [(data,) for data in images], rounds)
    size = round(float(np.mean([megapixels(data) for data in images])), 2)
    show(f"{len(images)} images of {size} megapixels", found, images=len(images), megapixels=size, data=kind)


def error(images: list[bytes]) -> None:
    """The pixels of DCT-scaled decoding beside those of full decoding, in levels of 255."""
    pairs = [(decode_upright(data, FULL).image, decode_upright(data, SAFE).image) for data in images]
    touched = [np.abs(full.astype(np.int16) - safe) for full, safe in pairs if (full != safe).any()]
    off = np.concatenate([np.zeros(1, np.int16), *map(np.ravel, touched)])
    found = {
        "images": len(touched),
        "levels, mean": float(off.mean()),
        "levels, most": float(off.max()),
        "% of values off by more than 8": 100 * float((off > 8).mean()),
    }
    name = "stage, dct_scaling=safe"
    rows = [Row(name=name, unit=unit, values=(value,)) for unit, value in found.items()]
    show("against full decoding", rows, part="error")


def memory(image: bytes) -> None:
    """Peak resident memory of a process that decodes an image, as JPEG and as PNG."""
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        jpeg, png, pixel = (Path(folder, name) for name in ("image.jpg", "image.png", "pixel.png"))
        jpeg.write_bytes(image)
        Image.open(jpeg).convert("RGB").save(png, compress_level=1)
        Image.new("RGB", (1, 1)).save(pixel)
        before = peak(pixel)
        for path in (jpeg, png):
            table[path.suffix] = {"MiB for a pixel": before, "MiB at the peak": peak(pixel, path)}
    size = round(megapixels(image), 1)
    show(f"memory, {size} megapixels", table, part="memory", megapixels=size)


def peak(*images: Path) -> int:
    """The most MiB of a process that decodes images, and loads nothing that benchmarks use."""
    command = [sys.executable, "-c", PEAK, *images]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout) >> 20


if __name__ == "__main__":
    main()
