"""What a run over many samples costs: built, with nothing to do, one label, one image or one name changed.

python -m benchmarks.scale [--samples 5000 20000 50000 100000] [--folder FOLDER]

Receipts of 64 pixels on a canvas of 32: what is left is the cost of many samples, not of their pixels. Each
step is a whole `warmstore run` in a process of its own; peak is the memory of that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measure import arguments, parse, show
from ocr.synthetic import Receipt, draw_receipt

DRAWN = 50
# A process counts the memory of the one that started it to its own peak, so a small one stands between.
_SMALL = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3]))
sys.exit(code)
"""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[5_000, 20_000, 50_000, 100_000])
    parser.add_argument("--folder", type=Path, default=Path(), help="where data and stores are written")
    asked = parse(parser)
    for count in asked.samples:
        with tempfile.TemporaryDirectory(dir=asked.folder, prefix=".bench-") as folder:
            show_steps(ManyReceipts(Path(folder), count))


class ManyReceipts:
    """Some drawn receipts as many samples: each file has other bytes, at its end."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        drawn = [draw_receipt(np.random.default_rng(index), (64, 64)) for index in range(DRAWN)]
        self.jpegs, self.labels = [receipt.jpeg for receipt in drawn], list(map(entry, drawn))
        self.words = sum(len(drawn[index % DRAWN].texts) for index in range(count))
        (folder / "img").mkdir(parents=True)
        self.entries = {
            self.add(f"{index:06}.jpg", index): self.labels[index % DRAWN] for index in range(count)
        }
        self.write()

    def add(self, name: str, index: int) -> str:
        """Write an image; gives its name."""
        (self.folder / "img" / name).write_bytes(self.jpegs[index % DRAWN] + name.encode())
        return name

    def write(self) -> None:
        """Write the label file."""
        lines = (f"{json.dumps(name)}: {words}" for name, words in self.entries.items())
        (self.folder / "labels.json").write_text('{"images": {\n' + ",\n".join(lines) + "\n}}\n")

    def edit_label(self) -> None:
        """Change one word in the middle."""
        name = f"{self.count // 2:06}.jpg"
        self.entries[name] = self.entries[name].replace('"text": "', '"text": "edited ', 1)
        self.write()

    def edit_image(self) -> None:
        """Change one image in the middle."""
        path = self.folder / "img" / f"{self.count // 3:06}.jpg"
        path.write_bytes(path.read_bytes() + b".")

    def add_in_front(self) -> None:
        """Put a new sample before all others."""
        self.entries = {self.add("-first.jpg", 7): self.labels[7], **self.entries}
        self.write()


def entry(receipt: Receipt) -> str:
    """Give a receipt's entry in the label file."""
    words = zip(receipt.points.round(1).tolist(), receipt.texts, strict=True)
    return json.dumps(
        {"words": {str(i): {"points": points, "text": text} for i, (points, text) in enumerate(words)}}
    )


def show_steps(receipts: ManyReceipts) -> None:
    """Take one step after another; print what the run after each took."""
    steps: dict[str, Callable[[], None]] = {
        "built": lambda: None,
        "nothing to do": lambda: None,
        "one label edited": receipts.edit_label,
        "one image edited": receipts.edit_image,
        "one added in front": receipts.add_in_front,
    }
    table = {}
    for name, change in steps.items():
        change()
        table[name] = run(receipts.folder)
    show(f"{receipts.count:,} samples, {receipts.words:,} words", table)


def run(folder: Path) -> dict[str, float]:
    """Bring the stores of a folder up to date in a process of its own."""
    command = [sys.executable, "-m", "warmstore", "run", "--config", "receipts", "--split", "val"]
    command += ["canvas=32", "executor=threads", f"data.root={folder}", f"work_dir={folder}/work"]
    split = {"annotations": "labels.json", "format": "native", "part": "null"}
    command += [f"data.splits.val.{key}={value}" for key, value in split.items()]
    began = time.perf_counter()
    small = [sys.executable, "-S", "-c", _SMALL]
    # Modules are compiled once, as where they are installed: each time it would be a quarter of a second.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.run([*small, *command], stdout=subprocess.PIPE, text=True, check=False, env=kept)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    seconds, peak = json.loads(child.stdout)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "CPU seconds": round(seconds, 2),
        "peak MB": round(peak),
    }


if __name__ == "__main__":
    main()
