"""The folders of runs: `work/runs/<time>-<kind>`, one each: how each ended, and which of them are old."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, Remedy
from pipeline.files import write_aside
from pipeline.store import unused
from pipeline.workspace import Collected, collect_folders
from warmstore.configuration import RunConfig

log = logging.getLogger(__name__)

_RUN = re.compile(r"\d{8}-\d{6}(?:-\d{6})?-(run|train|validate|score|overfit)(-\d+)?")
SUMMARY = "summary.json"
LAST = Path("checkpoints/last.ckpt")
"""Below a training's folder: where it goes on."""
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


@dataclass
class Run:
    """A run under way: its folder, and what is to stand in its summary."""

    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """A training's folder, and its `state`: finished, interrupted, failed, under way; killed: unfinished."""

    folder: Path
    state: str

    @property
    def last(self) -> Path:
        """Where the training goes on."""
        return self.folder / LAST

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint; the last one where nothing was validated."""
        best = self.folder / "checkpoints/best.ckpt"
        return next((path for path in (best, self.last) if path.exists()), None)


def first_rank() -> bool:
    """Tell whether this process is the one of a training's ranks that writes and speaks."""
    return not any(int(os.environ.get(name) or 0) for name in _RANKS)


def new_run(runs_dir: Path, kind: str) -> Path:
    """Name a run's folder by UTC to the microsecond: names sort as the runs began, wherever that was."""
    return runs_dir / f"{datetime.now(UTC).strftime('%Y%m%d-%H%M%S-%f')}-{kind}"


@contextmanager
def run_folder(config: RunConfig, kind: str, resumed: Path | None = None) -> Iterator[Run]:
    """Make a folder for a run, or go on in `resumed`; `collect_runs` spares it meanwhile.

    At the end `summary.json` says how it ended, as `state`, beside the run's own summary. A rank that is
    not the first makes and writes nothing.
    """
    run = Run(resumed or new_run(config.runs_dirs[0], kind))
    if not first_rank():
        yield run
        return
    try:
        run.folder.mkdir(parents=True, exist_ok=resumed is not None)
    except OSError as error:
        raise ConfigError(
            f"the run's folder {run.folder} cannot be made ({error.strerror}); "
            "set runs_dir=… to a folder that can be written"
        ) from None
    descriptor = os.open(run.folder, os.O_RDONLY | os.O_DIRECTORY)
    run.summary["state"] = "interrupted"
    try:
        with suppress(OSError):  # without locks `gc` refuses to run
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        (run.folder / SUMMARY).unlink(missing_ok=True)  # a kill leaves what goes on unfinished, too
        yield run
        run.summary["state"] = "finished"
    except Exception as error:
        run.summary |= {"state": "failed", "error": str(error)}
        raise
    finally:
        if run.summary["state"] == "finished" or any(run.folder.iterdir()):
            write_aside(run.folder / SUMMARY, json.dumps(run.summary, indent=1).encode())
        else:
            run.folder.rmdir()  # nothing was done
        os.close(descriptor)


def newest_checkpoint(runs_dirs: Sequence[Path]) -> Path:
    """Give what the newest finished training left: its best checkpoint, or its last if it has no other.

    Says where a newer training has not finished. Raises ConfigError where no training has.
    """
    newer: list[Training] = []
    for training in reversed(_trainings(runs_dirs)):
        if training.state == "finished" and training.checkpoint is not None:
            if training.checkpoint == training.last:
                log.warning("%s has only last.ckpt: nothing was validated", training.folder.name)
            if newer:
                told = ", ".join(f"{one.folder.name} ({one.state})" for one in newer)
                log.warning("%s is the newest finished training; newer: %s", training.folder.name, told)
            return training.checkpoint
        newer.append(training)
    told = ", ".join(f"{one.folder.name} is {one.state}" for one in newer[:3])
    raise ConfigError(
        f"there is no checkpoint below {' or '.join(map(str, runs_dirs))}"
        f"{f' of a finished training ({told})' if told else ''}",
        Remedy(
            "train",
            rest=" first, or name the run that was trained with --config, or a checkpoint with --checkpoint",
        ),
    )


def resumable(runs_dirs: Sequence[Path], name: str = "") -> Path:
    """Find the folder of the training that is to go on: of that name or path, else the newest unfinished.

    Raises ConfigError where there is none, it has no `last.ckpt`, or it is under way.
    """
    runs = _trainings(runs_dirs)
    if name:
        wanted = {path.resolve() for path in (Path(name), *(folder / name for folder in runs_dirs))}
        found = [run for run in runs if run.folder.resolve() in wanted]
    else:
        found = [run for run in runs if run.state != "finished" and run.last.exists()]
    if not found or not found[-1].last.exists():
        what = f"training {name}" if name else "unfinished training"
        raise ConfigError(
            f"there is no {what} with a checkpoints/last.ckpt to go on with below "
            f"{' or '.join(map(str, runs_dirs))}",
            Remedy("train"),
        )
    if found[-1].state == "under way" and first_rank():
        raise ConfigError(
            f"training {found[-1].folder.name} is under way; stop it first, or name another one"
        )
    return found[-1].folder


def read_summary(folder: Path) -> dict[str, Any]:
    """Give what a run's summary says: nothing where the run was killed, or the file is damaged."""
    with suppress(OSError, ValueError):
        found = json.loads((folder / SUMMARY).read_text())
        return found if isinstance(found, dict) else {}
    return {}


def collect_runs(runs_dir: Path, keep: int, dry_run: bool) -> Collected:
    """Remove the folders of all runs but the `keep` newest of each kind, checkpoints included.

    The newest finished training stays, which `validate` takes.
    """
    kinds: dict[str, list[Path]] = {}
    for path in _folders(runs_dir):
        named = _RUN.fullmatch(path.name)
        assert named
        kinds.setdefault(named[1], []).append(path)
    taken = [run.folder for run in _trainings([runs_dir]) if run.state == "finished" and run.checkpoint]
    old = {path for paths in kinds.values() for path in paths[: max(0, len(paths) - keep)]}
    return collect_folders(old - set(taken[-1:]), dry_run)


def _folders(runs_dir: Path) -> list[Path]:
    """The folders of runs, in the order in which they began."""
    found = (path for path in runs_dir.glob("*") if _RUN.fullmatch(path.name))
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def _trainings(runs_dirs: Sequence[Path]) -> list[Training]:
    folders = [path for runs_dir in runs_dirs for path in _folders(runs_dir) if "-train" in path.name]
    return [Training(path, _state(path)) for path in sorted(folders, key=lambda path: path.name)]


def _state(folder: Path) -> str:
    with suppress(OSError), unused(folder) as free:
        if not free:
            return "under way"
    summary = read_summary(folder)
    return str(summary.get("state", "finished")) if summary else "unfinished"  # once, only the end wrote one
