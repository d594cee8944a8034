"""The folders of runs: `work/runs/<time>-<kind>`, one each, and which of them are old."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.files import bytes_freed
from pipeline.store import unused
from pipeline.workspace import Collected
from warmstore.configuration import RunConfig

_RUN = re.compile(r"\d{8}-\d{6}-(run|train|validate|overfit)(-\d+)?")


@contextmanager
def run_folder(config: RunConfig, kind: str) -> Iterator[Path]:
    """Make a folder of its own for a run, below the work folder; `collect_runs` spares it meanwhile."""
    base = config.work_dir / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}"
    folder, tries = base, 1
    while True:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            tries += 1
            folder = base.with_name(f"{base.name}-{tries}")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # without locks `gc` refuses to run
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield folder
    finally:
        os.close(descriptor)


def newest_checkpoint(work_dir: Path) -> Path:
    """Find the best checkpoint of the newest training. Raises ConfigError where there is none."""
    found = _best_checkpoints(work_dir)
    if not found:
        raise ConfigError(
            f"there is no checkpoint below {work_dir / 'runs'}; train first, or give --checkpoint"
        )
    return found[-1]


def collect_runs(work_dir: Path, keep: int, dry_run: bool) -> Collected:
    """Remove the folders of all runs but the `keep` newest of each kind, checkpoints included.

    The folder of `newest_checkpoint` stays.
    """
    kinds: dict[str, list[Path]] = {}
    for path in sorted((work_dir / "runs").glob("*")):
        named = _RUN.fullmatch(path.name)
        if named and path.is_dir() and not path.is_symlink():
            kinds.setdefault(named[1], []).append(path)
    best = {path.parents[1] for path in _best_checkpoints(work_dir)[-1:]}
    old = {path for paths in kinds.values() for path in paths[: max(0, len(paths) - keep)]}
    removed: list[Path] = []
    in_use: list[Path] = []
    freed = 0
    for path in sorted(old - best):
        with unused(path) as free:
            if free:
                freed += bytes_freed([path])
            if free and not dry_run:
                shutil.rmtree(path)
        (removed if free else in_use).append(path)
    return Collected(removed, in_use, freed)


def _best_checkpoints(work_dir: Path) -> list[Path]:
    return sorted(work_dir.glob("runs/*-train*/checkpoints/best.ckpt"))
