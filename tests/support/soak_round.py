"""One round of the soak: a data set, a work folder, and forty random steps over both."""

from __future__ import annotations

import gc
import multiprocessing
import random
import shlex
import sys
from collections import Counter
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from ocr.datasets import TensorDataset
from pipeline import failpoints
from tests.support.edited_receipts import Receipts
from tests.support.shell import Done, Shell

STEPS = 40
STORES = {"canonicalize": "canonical", "decode": "decode", "maps": "maps", "tensors": "tensors"}
RECIPES = ("stages.maps.shrink_ratio=0.4", "stages.maps.shrink_ratio=0.5", "canvas=192")

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


class Round:
    """A data set, a work folder, and what happens to them."""

    def __init__(self, folder: Path, pool: Path, rng: random.Random, done: Counter[str]) -> None:
        self.folder, self.rng, self.done = folder, rng, done
        self.receipts = Receipts(pool, folder / "raw")
        (folder / "work").mkdir()
        self.shell = Shell(folder)
        self.recipe = RECIPES[0]
        self.edited_in_place = False  # since the last whole run: then `verify` rightly finds damage
        self.reader: tuple[TensorDataset, str] | None = None

    def play(self) -> None:
        """Take the steps, and compare with a clean build."""
        steps = (
            [self.edit] * 14
            + [self.run] * 6
            + [self.stage] * 3
            + [self.kill] * 7
            + [self.read, self.reader_opens, self.reader_closes] * 2
            + [self.verify, self.collect, self.damage, self.another_recipe] * 2
            + [self.train, self.cluster]
        )
        for number in range(STEPS):
            step = self.rng.choice(steps)
            print(f"{number:2} {step.__name__:15}", end=" ", flush=True)
            print(step(), flush=True)
            self.done[step.__name__] += 1
        self.reader_closes()
        self.compare()

    def edit(self) -> str:
        """Change the data set."""
        if self.edited_in_place:  # a run sees that while the file is there; when it is replaced, verify does
            self._whole_run()
        told = self.receipts.edit(self.rng)
        self.edited_in_place |= told.endswith("in place")
        return told

    def run(self) -> str:
        """Bring all stages up to date, on any executor."""
        executor = self._executor()
        return self._whole_run(*executor)

    def stage(self) -> str:
        """Run a single stage, which may have to refuse."""
        stage = self.rng.choice(list(STORES))
        split = self.rng.choice(("train", "val"))
        return self._told(self._type("run", stage, "--split", split, *self._executor(), allowed=(0, 1)))

    def kill(self) -> str:
        """Kill a command, at a scripted place or by the clock; whatever is published must be whole."""
        command = self.rng.choice((("run",),) * 8 + (("repair",), ("gc",)))
        arguments = (*command, self.recipe, *self._executor("dask"))
        point = self.rng.choice(failpoints.POINTS)
        script = f"{point}:{self.rng.choice((1, 2, 3, 5, 8, 13, 21))}:kill"
        seconds = 0.05 + 2 * self.rng.random() ** 2
        by_clock = self.rng.random() < 0.6
        child = _CONTEXT.Process(target=_typed, args=(self.folder, arguments, "" if by_clock else script))
        child.start()
        child.join(seconds if by_clock else None)
        child.kill()
        child.join()
        killed = child.exitcode == -9
        self.done["kills that struck"] += killed
        self._whole()
        moment = f"after {seconds:.2f} s" if by_clock else script
        return f"{' '.join(arguments)}: {moment}, {'killed' if killed else f'ended with {child.exitcode}'}"

    def read(self) -> str:
        """Read a store to its end and close it."""
        split, mode = self.rng.choice(("train", "val")), self.rng.choice(("ram", "mmap", "off"))
        path = self.folder / f"work/{split}/tensors.zarr"
        if not path.exists():
            return f"{split} is not built"
        dataset = TensorDataset(path, cache=mode)
        if len(dataset) and mode != "off":
            dataset.warm()
        return f"{split}, {mode}: {len(dataset)} samples {_content(dataset)[:8]}"

    def reader_opens(self) -> str:
        """Open a store and keep it, whatever becomes of its generation."""
        self.reader_closes()
        path = self.folder / f"work/{self.rng.choice(('train', 'val'))}/tensors.zarr"
        if not path.exists():
            return "nothing is built"
        dataset = TensorDataset(path)
        self.reader = dataset, _content(dataset)
        return f"{path.resolve().name}, {len(dataset)} samples"

    def reader_closes(self) -> str:
        """Read what is open once more: it must be what it was."""
        if self.reader is None:
            return "no reader is open"
        (dataset, before), self.reader = self.reader, None
        assert _content(dataset) == before, "an open dataset reads something else than at first"
        return f"{len(dataset)} samples are what they were"

    def verify(self) -> str:
        """Check the stores, sometimes against their source."""
        thorough = self.rng.random() < 0.5
        if thorough:
            self._whole_run()
            return self._told(self._type("verify", "--against-source"))
        self._whole()
        return "every file"

    def collect(self, keep: int | None = None) -> str:
        """Remove old generations and runs."""
        gc.collect()  # frames that an exception of a library holds on to, and with them stores
        kept = self.rng.randint(0, 2) if keep is None else keep
        return self._told(self._type("gc", "--keep", str(kept), "--runs", "2"))

    def damage(self) -> str:
        """Damage a file of a fresh store: a check finds it, a repair mends it, with the same digest."""
        self._whole_run()
        stage = self.rng.choice(list(STORES))
        store = self.folder / f"work/{self.rng.choice(('train', 'val'))}/{STORES[stage]}.zarr"
        files = sorted(path for path in store.resolve().rglob("*") if path.is_file())
        path = files[int(self.rng.random() * len(files))]
        how = self.rng.choice(("gone", "cut", "flipped"))
        data = bytearray(path.read_bytes())
        path.unlink()  # a link of an old generation, of a reader or of the data set stays whole
        if how == "flipped" and data:
            data[len(data) // 2] ^= 1
        if how != "gone":
            path.write_bytes(data[: len(data) // 2] if how == "cut" else data)
        damaged = how == "gone" or data
        name = f"{store.parent.name}/{store.name}/{path.relative_to(store.resolve())}"
        assert self._type("verify", allowed=(0, 1)).returncode == int(bool(damaged)), f"{name} is {how}"
        mended = self._type("repair", allowed=(0, 1))
        if mended.returncode:  # a manifest cannot be restored: a run builds another generation
            self._whole_run()
        self._type("verify")
        return f"{name}: {how}, {'a run' if mended.returncode else 'repair'} mended it"

    def another_recipe(self) -> str:
        """Change a parameter of the stages."""
        self.recipe = self.rng.choice(RECIPES)
        return self.recipe

    def train(self) -> str:
        """Train an epoch in a process of its own, and validate."""
        self._whole_run()
        return self._child("train", self.recipe, "trainer.max_epochs=1")

    def cluster(self) -> str:
        """Run on dask, in a process of its own."""
        told = self._child("run", self.recipe, "executor.kind=dask", "executor.workers=2")
        self.edited_in_place = False
        return told

    def compare(self) -> None:
        """Hold the stores against a clean build, and the work folder against what belongs there."""
        self._whole_run()
        self._type("verify")
        digests = [self._digests("work"), self._digests("clean")]
        assert digests[0] == digests[1], f"not the clean build: {digests}"
        self.collect(keep=0)
        for split in ("train", "val"):
            work = self.folder / "work" / split
            for stage in STORES:
                assert len(list((work / ".generations" / stage).iterdir())) == 1, (
                    f"old generations of {stage}"
                )
            left = [path for path in work.rglob("*") if path.suffix == ".tmp" or path.name == ".building"]
            left += list((work / ".staging").iterdir()) if (work / ".staging").exists() else []
            assert not left, f"{left} is left"

    def _digests(self, work: str) -> dict[str, str]:
        found = self.shell.json("run", *_settings(self.folder, work), self.recipe, "executor.kind=serial")
        return {
            f"{split} {name}": r["digest"] for split, stages in found.items() for name, r in stages.items()
        }

    def _whole(self) -> None:
        """Verify what is published, if anything is."""
        if list((self.folder / "work").glob("*/*.zarr")):
            self._type("verify", allowed=(0, 1) if self.edited_in_place else (0,))

    def _whole_run(self, *executor: str) -> str:
        done = self._type("run", *executor)
        self.edited_in_place = False
        return self._told(done)

    def _type(self, command: str, *words: str, allowed: tuple[int, ...] = (0,)) -> Done:
        line = (command, *_settings(self.folder), self.recipe, *words)
        done = self.shell(*line)
        told = f"warmstore {shlex.join(line)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode in allowed and "fault of warmstore" not in done.stderr, told
        self.done["commands"] += 1
        self.last = f"{command} {' '.join(words)}"
        return done

    def _told(self, done: Done) -> str:
        refused = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        return " ".join([self.last, *refused])

    def _child(self, *arguments: str) -> str:
        child = _CONTEXT.Process(target=_typed, args=(self.folder, arguments, ""))
        child.start()
        child.join()
        log = self.folder / "typed.log"
        assert child.exitcode == 0, f"warmstore ended with {child.exitcode}: {log.read_text()[-2000:]}"
        return " ".join(arguments)

    def _executor(self, *more: str) -> tuple[str, ...]:
        kind = self.rng.choice(("serial", "threads", "threads", "threads", "processes", "processes", *more))
        workers, batch = self.rng.randint(1, 4), self.rng.randint(1, 8)
        return f"executor.kind={kind}", f"executor.workers={workers}", f"executor.batch={batch}"


def _settings(folder: Path, work: str = "work") -> tuple[str, ...]:
    return f"data.root={folder / 'raw'}", f"work_dir={folder / work}"


def _content(dataset: TensorDataset) -> str:
    """Digest of all that a dataset reads."""
    found = sha256()
    for index in range(len(dataset)):
        sample = dataset[index]
        found.update(str(sample["sample_id"]).encode())
        found.update(sample["image"].numpy().tobytes())
    return found.hexdigest()


def _typed(folder: Path, arguments: tuple[str, ...], script: str) -> None:
    """Type a command in this process, with a scripted fault."""
    failpoints.arm(script)
    command, *rest = arguments
    done = Shell(folder)(command, *_settings(folder), *rest)
    with suppress(OSError), (folder / "typed.log").open("a") as log:
        log.write(f"{shlex.join(arguments)}: {done.returncode}\n{done.stderr}\n")
    sys.exit(done.returncode)
