"""Mutated annotation files against our own entry points: each is listed or refused, nothing else.

    python -m tests.fuzz_annotations --cases 20000 --seed 1

runs in this process, whose address space is capped, and which a case that hangs ends. The exit
status is 0 when every case ended well; otherwise the case that failed is written to a file, and its
number is told, so that `--first` repeats it.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

import xxhash

from ocr.annotations import FORMATS, dump
from ocr.preprocess import PolygonParams, repair_polygons
from ocr.splits import AnnotatedSplit, FrameEvidence, decide_frames
from pipeline.errors import PipelineError
from tests.support.fuzzing import fuzz
from tests.test_annotation_lines import LINES
from tests.test_annotations import DOCUMENTED

CAP = 512 * 2**20
"""Bytes of address space beyond what the process has when it starts."""

TOKENS = [
    *(b"NaN", b"-Infinity", b"1e999", b"1e308", b"-0.0", b"1" * 400, b"1" * 5000, b"true", b"null"),
    *(b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"\t", b"\n", b"\r", b"\0", b"###", b",,,,,,,,"),
    *(b'"\\ud800"', b'"words"', b'"points"', b'"../../a"', b'"/etc/passwd"', b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"[" * 2000, b" " * 5000, b"[[0,0]," * 50, "é١\u2028".encode(), b"{}", b"[]", b'""', b"0", b"-1", b"."),
]


def seeds() -> list[bytes]:
    """One small file of every kind."""
    documents = [data for data, _ in DOCUMENTED.values()]
    files = [data if isinstance(data, bytes) else json.dumps(data).encode() for data in documents]
    return [*files, "\n".join(LINES).encode(), b"\xef\xbb\xbf" + "\r\n".join(LINES).encode()]


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Change a file in one to three places."""
    for _ in range(dice.choice([1, 1, 2, 3])):
        at = dice.randint(0, len(data))
        length = min(len(data) - at, dice.choice([1, 1, 2, 5, 30]))
        match dice.randint(0, 5):
            case 0:
                data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[at + length :]
            case 2:
                data = data[:at] + dice.choice(TOKENS) + data[at:]
            case 3:
                data = data[:at] + dice.choice(TOKENS) + data[at + length :]
            case 4:
                other = dice.randint(0, len(data))
                data = data[:at] + data[other : other + dice.randint(1, 200)] + data[at:]
            case _:
                data = _without_a_value(data, dice)
    return data if dice.random() < 0.95 else data[: dice.randint(0, len(data))]


def _without_a_value(data: bytes, dice: random.Random) -> bytes:
    """Put a token in the place of one whole JSON value or number, so that the rest stays well formed."""
    parts = [part for part in data.replace(b":", b",").split(b",") if part.strip()]
    return data.replace(dice.choice(parts), dice.choice(TOKENS), 1) if parts else data


def case(number: int, seed: int, files: list[bytes]) -> bytes:
    """Give case `number`: the same for the same seed, whatever ran before."""
    return mutate(files[number % len(files)], random.Random(f"{seed} {number}"))


def attempt(data: bytes, number: int, root: Path) -> str:
    """List a split with these labels and repair its polygons; give what became of it."""
    path = root / "labels/a.txt"
    path.write_bytes(data)
    outcomes = []
    for place, format in ((path, "auto"), (path, [*FORMATS][number % len(FORMATS)]), (path.parent, "auto")):
        split = AnnotatedSplit(root / "img", place, format)
        try:
            samples = split.samples(lambda image: xxhash.xxh3_128_digest(image.read_bytes()))
        except PipelineError as error:
            _check(0 < len(str(error)) < 20_000, "an error of a readable length")
            outcomes.append("refused")
            continue
        _check(len({sample.sample_id for sample in samples}) == len(samples), "ids are unique")
        for sample in samples:
            _check(sample.sample_id >= " " and "\n" not in sample.sample_id, "an id can be printed")
        for image in split.read.images:
            repair_polygons(image.words, 40, 60, PolygonParams())
            decide_frames([FrameEvidence((40, 60), 6, [word.points for word in image.words], image.size)])
        dump(split.read.images)
        listed = any(sample.verdict is None for sample in samples)
        outcomes.append("listed" if listed else "quarantined")
    return outcomes[0]


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"expected: {what}")


def lay_out(root: Path) -> Path:
    """Make the folders that a case needs, and the one image that the labels name."""
    for name in ("img", "labels"):
        (root / name).mkdir()
    (root / "img/a.jpg").write_bytes(b"any")
    return root


def main() -> int:
    """Run the cases that the command line asks for."""
    files = seeds()
    with tempfile.TemporaryDirectory() as name:
        root = lay_out(Path(name))
        return fuzz(
            __doc__,
            CAP,
            lambda number, seed: case(number, seed, files),
            lambda data, number: attempt(data, number, root),
        )


if __name__ == "__main__":
    sys.exit(main())
