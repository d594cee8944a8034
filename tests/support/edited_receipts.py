"""A data set of small receipts that somebody edits at random: what is chosen depends on a generator alone."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

from ocr.synthetic import generate

LISTED = {"train": 6, "val": 4}
POOL = {"train": 12, "val": 8}
STEADY = 2
"""Samples of a split, the first ones, that nobody breaks or removes: there is always something to read."""


def draw_pool(folder: Path) -> None:
    """Draw the receipts that data sets are made of."""
    generate(folder, **POOL, seed=0, size=(160, 120))


class Receipts:
    """A copy of the pool's first receipts, and edits of it. Every edit says what it did in a few words."""

    def __init__(self, pool: Path, root: Path) -> None:
        self.pool, self.root = pool, root
        self.labels: dict[str, dict[str, Any]] = {}
        for split, count in LISTED.items():
            (root / split).mkdir(parents=True)
            self.labels[split] = {name: self._drawn(split, name) for name in self._names(split)[:count]}
            for name in self.labels[split]:
                shutil.copyfile(pool / split / name, root / split / name)
            self._save(split)

    def edit(self, rng: random.Random) -> str:
        """Do one edit."""
        split = rng.choice(list(LISTED))
        kinds = (
            self.image,
            self.in_place,
            self.touched,
            self.label,
            self.label,
            self.added,
            self.removed,
            self.broken,
            self.broken_label,
            self.put_back,
            self.put_back,
            self.reordered,
        )
        return rng.choice(kinds)(split, rng)

    def image(self, split: str, rng: random.Random) -> str:
        """Put another receipt's pixels in place of one, as a new file."""
        name = self._one(split, rng)
        self._write(split, name, (self.pool / split / rng.choice(self._names(split))).read_bytes())
        return f"{split}/{name}: another image"

    def in_place(self, split: str, rng: random.Random) -> str:
        """Write into a file of the data set, and put its time back: a link in a store sees it as well."""
        path = self.root / split / self._one(split, rng)
        before = path.stat()
        data = bytearray(path.read_bytes())
        if not data:
            return f"{split}/{path.name}: empty"
        data[-rng.randint(3, 40)] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return f"{split}/{path.name}: written in place"

    def touched(self, split: str, rng: random.Random) -> str:
        """Change the times of a file and nothing else."""
        name = self._one(split, rng)
        (self.root / split / name).touch()
        return f"{split}/{name}: touched"

    def label(self, split: str, rng: random.Random) -> str:
        """Move, rename, ignore or remove a word."""
        name = self._one(split, rng)
        words = self.labels[split][name]["words"]
        if not words:
            return f"{split}/{name}: no word to edit"
        key = rng.choice(sorted(words))
        how = "gone" if key == "bad" else rng.choice(("moved", "text", "ignore", "gone"))
        word = words[key]
        if how == "moved":
            shift = rng.uniform(-3, 3)
            word["points"] = [[x + shift, y + shift] for x, y in word["points"]]
        elif how == "text":
            word["text"] = f"TEXT {rng.randint(0, 99)}"
        elif how == "ignore":
            word["ignore"] = not word["ignore"]
        else:
            del words[key]
        self._save(split)
        return f"{split}/{name}: word {key} {how}"

    def added(self, split: str, rng: random.Random) -> str:
        """List a sample of the pool that is not listed, at any place."""
        others = [name for name in self._names(split) if name not in self.labels[split]]
        if not others:
            return f"{split}: nothing left to add"
        name = rng.choice(others)
        shutil.copyfile(self.pool / split / name, self.root / split / name)
        items = list(self.labels[split].items())
        items.insert(rng.randint(STEADY, len(items)), (name, self._drawn(split, name)))
        self.labels[split] = dict(items)
        self._save(split)
        return f"{split}/{name}: added"

    def removed(self, split: str, rng: random.Random) -> str:
        """Remove a sample, sometimes with its image."""
        name = self._loose(split, rng)
        if name is None:
            return f"{split}: nothing to remove"
        del self.labels[split][name]
        image = rng.random() < 0.5
        if image:
            (self.root / split / name).unlink()
        self._save(split)
        return f"{split}/{name}: removed{' with its image' if image else ''}"

    def broken(self, split: str, rng: random.Random) -> str:
        """Truncate an image, empty it, or fill it with noise."""
        name = self._loose(split, rng)
        if name is None:
            return f"{split}: nothing to break"
        data = (self.pool / split / name).read_bytes()
        how = rng.choice(("cut", "empty", "noise"))
        self._write(split, name, {"cut": data[:200], "empty": b"", "noise": rng.randbytes(500)}[how])
        return f"{split}/{name}: broken, {how}"

    def broken_label(self, split: str, rng: random.Random) -> str:
        """Give a word points that are no polygon."""
        name = self._loose(split, rng)
        if name is None:
            return f"{split}: no label to break"
        bad: list[Any] = rng.choice(
            ([[0, 0], [1, 1]], [["x", 0], [1, 1], [2, 0]], [[1e9, 0], [1e9, 9], [0, 9]])
        )
        self.labels[split][name]["words"]["bad"] = {"points": bad, "text": "?", "ignore": False}
        self._save(split)
        return f"{split}/{name}: broken label {bad}"

    def put_back(self, split: str, rng: random.Random) -> str:
        """Bring a sample back to what it was at first."""
        name = self._one(split, rng)
        self._write(split, name, (self.pool / split / name).read_bytes())
        self.labels[split][name] = self._drawn(split, name)
        self._save(split)
        return f"{split}/{name}: put back"

    def reordered(self, split: str, rng: random.Random) -> str:
        """List the samples in another order."""
        steady, loose = self._parts(split)
        rng.shuffle(loose)
        self.labels[split] = {name: self.labels[split][name] for name in steady + loose}
        self._save(split)
        return f"{split}: {len(loose)} samples in another order"

    def _parts(self, split: str) -> tuple[list[str], list[str]]:
        names = list(self.labels[split])
        steady = [name for name in names if name in self._names(split)[:STEADY]]
        return steady, [name for name in names if name not in steady]

    def _one(self, split: str, rng: random.Random) -> str:
        return rng.choice(list(self.labels[split]))

    def _loose(self, split: str, rng: random.Random) -> str | None:
        loose = self._parts(split)[1]
        return rng.choice(loose) if loose else None

    def _names(self, split: str) -> list[str]:
        return [f"receipt-{index:05d}.jpg" for index in range(POOL[split])]

    def _drawn(self, split: str, name: str) -> Any:
        return json.loads((self.pool / f"{split}.json").read_text())["images"][name]

    def _write(self, split: str, name: str, data: bytes) -> None:
        path = self.root / split / name
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def _save(self, split: str) -> None:
        path = self.root / f"{split}.json"
        aside = path.with_suffix(".partial")
        aside.write_text(json.dumps({"images": self.labels[split]}))
        aside.replace(path)
