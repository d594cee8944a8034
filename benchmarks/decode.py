"""Decode: the stage against a bare loop, DCT-scaled decoding against full, and memory at its peak.

    OMP_NUM_THREADS=1 python -m benchmarks.decode FOLDER_OF_JPEGS [--json]

The bare loop is PyTurboJPEG's decode and the same resize, and nothing else. All sides do every file
in turn, one right after the other, so that what else the machine does hits them alike; of the rounds,
the fastest counts for each file. Times are CPU time of this thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import turbojpeg
from PIL import Image

from benchmarks.turns import fastest
from ocr.geometry import letterbox
from ocr.images import Limits, read_header, resize
from ocr.preprocess import DecodeParams, decode_upright

FULL = DecodeParams()
SAFE = DecodeParams(dct_scaling="safe")

# VmHWM and not getrusage: the latter's maximum is inherited from the process that started this one.
_PEAK = """
import re, sys
from functools import partial
from pathlib import Path
import torch, torch.nn.functional
from stages.decode import Decode, decode_upright
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
decode_upright(Path(sys.argv[1]).read_bytes(), Decode())
print(before, peak())
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(options.folder.glob("*.jpg"))
    report = {**speed(paths, options.rounds), **error(paths), **memory(paths)}
    if options.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{name:40} {value}" for name, value in report.items()))


def speed(paths: list[Path], rounds: int) -> dict[str, Any]:
    """Compare CPU time per image of the stage, the bare loop and the stage with DCT scaling."""
    bare_decoder = turbojpeg.TurboJPEG()

    def bare(data: bytes) -> None:
        pixels = bare_decoder.decode(data, pixel_format=turbojpeg.TJPF_RGB)
        box = letterbox(pixels.shape[:2], FULL.canvas)
        resize(pixels, (box.height, box.width))

    sides: dict[str, Callable[[bytes], object]] = {
        "bare": bare,
        "stage": lambda data: decode_upright(data, FULL),
        "safe": lambda data: decode_upright(data, SAFE),
    }
    totals = dict.fromkeys(sides, 0.0)
    megapixels = 0.0
    for path in paths:
        data = path.read_bytes()
        height, width = read_header(data, Limits()).size
        megapixels += height * width / 1e6
        spent, _ = fastest({name: partial(side, data) for name, side in sides.items()}, rounds)
        totals = {name: total + spent[name] for name, total in totals.items()}
    count = len(paths)
    return {
        "images": count,
        "megapixels an image": round(megapixels / count, 2),
        "bare loop, ms an image": round(totals["bare"] / count, 2),
        "stage, ms an image": round(totals["stage"] / count, 2),
        "stage / bare loop": round(totals["stage"] / totals["bare"], 3),
        "dct_scaling=safe, ms an image": round(totals["safe"] / count, 2),
        "speed-up by dct_scaling=safe": round(totals["stage"] / totals["safe"], 2),
    }


def error(paths: list[Path]) -> dict[str, Any]:
    """Compare the pixels of DCT-scaled decoding with those of full decoding, in levels of 255."""
    largest, summed, over, pixels, scaled = 0, 0, 0, 0, 0
    for path in paths:
        data = path.read_bytes()
        full, safe = decode_upright(data, FULL).image, decode_upright(data, SAFE).image
        difference = np.abs(full.astype(np.int16) - safe)
        if not difference.any():
            continue
        scaled += 1
        largest = max(largest, int(difference.max()))
        summed += int(difference.sum())
        over += int((difference > 8).sum())
        pixels += difference.size
    return {
        "images that safe scaling touches": scaled,
        "safe: largest error, levels": largest,
        "safe: mean error, levels": round(summed / max(pixels, 1), 3),
        "safe: share of values off by more than 8": f"{over / max(pixels, 1):.4%}",
    }


def memory(paths: list[Path]) -> dict[str, Any]:
    """Measure the peak resident memory of a process that decodes the largest image, as JPEG and as PNG."""
    largest = max(paths, key=lambda path: _pixels(path.read_bytes()))
    with tempfile.TemporaryDirectory() as folder:
        as_png = Path(folder) / "largest.png"
        Image.open(largest).convert("RGB").save(as_png, compress_level=1)
        jpeg, png = (_peak(path) for path in (largest, as_png))
    return {
        "largest image, megapixels": round(_pixels(largest.read_bytes()) / 1e6, 1),
        "MiB before decoding (imports)": jpeg[0],
        "MiB at the peak, JPEG": jpeg[1],
        "MiB at the peak, as PNG": png[1],
    }


def _pixels(data: bytes) -> int:
    height, width = read_header(data, Limits()).size
    return height * width


def _peak(path: Path) -> list[int]:
    command = [sys.executable, "-c", _PEAK, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(number) for number in run.stdout.split()]


if __name__ == "__main__":
    main()
