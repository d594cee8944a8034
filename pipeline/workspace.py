"""Where a split's stores live, which generation is current, and who may change that.

work/.lock                                   held by the run that writes
work/<split>/maps.zarr                       symlink to the current generation
work/<split>/images                          symlink to the upright images of canonical.zarr
work/<split>/.generations/maps/000003-9f…    generations, immutable once they stand here
work/<split>/.staging/maps/                  finished chunks and records of a run that has not published yet
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.failpoints import reach
from pipeline.files import bytes_freed, sweep, sync
from pipeline.stage import File, Stage
from pipeline.store import Store, open_store, unused

BUILDING = ".building"
_NO_SYMLINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
_COLLECTED = ".collected"
_GENERATION = re.compile(r"\d{6}-[0-9a-f]{16}")


@contextmanager
def exclusive(work_dir: Path, purpose: str) -> Iterator[None]:
    """Be the only run that writes below a work folder.

    The lock is the operating system's: it ends with the process, however that ends.
    Raises PipelineError where another run holds it.
    """
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(work_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise PipelineError(
            f"the work folder {work_dir} cannot be written ({error.strerror}); "
            "make it writable or set work_dir=… to another one"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another run"
            raise PipelineError(
                f"{work_dir} is in use by {holder}; wait for it to end, or set work_dir=… to another folder"
            ) from None
        except OSError as error:
            raise PipelineError(
                f"the file system of {work_dir} gives no locks ({error.strerror}), which keep two runs "
                "apart; mount it with locks, or set work_dir=… to another one"
            ) from None
        with suppress(OSError):  # the name is for people; the lock holds without it, on a full disk too
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{purpose} (process {os.getpid()})".encode(), 0)
        yield
        with suppress(OSError):
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Collected:
    """Folders that `gc` removed (or would) and those that somebody uses, and the bytes that it freed."""

    removed: list[Path]
    in_use: list[Path]
    freed: int


def collect_folders(folders: Iterable[Path], dry_run: bool) -> Collected:
    """Remove those folders that nobody uses. A dry run gives what would be removed."""
    removed, in_use, freed = list[Path](), list[Path](), 0
    for path in sorted(folders):
        with unused(path) as free:
            if free:
                freed += bytes_freed([path])
            if free and not dry_run:
                shutil.rmtree(path)
        (removed if free else in_use).append(path)
    return Collected(removed, in_use, freed)


@dataclass(frozen=True)
class Workspace:
    """The folder of one split below a work folder."""

    work_dir: Path
    split: str

    @property
    def folder(self) -> Path:
        """Folder of the split."""
        return self.work_dir / self.split

    def check_links(self) -> None:
        """Raise PipelineError where the file system has no symbolic links, before anything is computed."""
        probe = self.folder / ".link"
        try:
            probe.symlink_to("probe")
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno in _NO_SYMLINKS:
                raise PipelineError(
                    f"the file system of {self.folder} has no symbolic links ({error.strerror}), by which "
                    "stores are published; set work_dir=… to another one"
                ) from None
        probe.unlink(missing_ok=True)

    def generations(self, stage: Stage) -> Generations:
        """Give a stage's place in the split."""
        return Generations(self, stage)


@dataclass(frozen=True)
class Generations:
    """The generations of one stage's store: the current one, those before, and one in the making."""

    workspace: Workspace
    stage: Stage

    def __str__(self) -> str:
        return f"{self.stage.name} of split {self.workspace.split}"

    @property
    def path(self) -> Path:
        """Name under which users open the store."""
        return self.workspace.folder / self.stage.store

    @property
    def folder(self) -> Path:
        """Folder of the generations."""
        return self.workspace.folder / ".generations" / self.stage.name

    @property
    def staging(self) -> Path:
        """Folder of finished chunks that are not published yet."""
        return self.workspace.folder / ".staging" / self.stage.name

    def open(self) -> Store | None:
        """Open the current generation, or give None where the stage never ran here or it is lost."""
        return open_store(self.path) if self.path.exists() else None

    def listed(self) -> list[Path]:
        """List the generations, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _GENERATION.fullmatch(path.name))

    def drop(self) -> None:
        """Remove what is staged, and what a killed run was building: what is published needs none of it."""
        self.clear_staging()
        shutil.rmtree(self.folder / BUILDING, ignore_errors=True)

    def clear_staging(self) -> None:
        """Remove what is staged, also while a worker that was given up still writes there."""
        aside = self.staging.with_name(f".{self.staging.name}.cleared")
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):
            self.staging.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def begin(self) -> Path:
        """Make an empty folder to build the next generation in; drops what a killed run left there."""
        building = self.folder / BUILDING
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        return building

    def publish(self, building: Path, digest: str) -> None:
        """Make a built generation the current one: one atomic rename of a symlink.

        Everything in `building` must have been synced.
        """
        listed = self.listed()
        number = int(listed[-1].name.partition("-")[0]) + 1 if listed else 1
        final = building.with_name(f"{number:06d}-{digest[:16]}")
        building.rename(final)
        for made_by_a_first_run in (final.parent, final.parent.parent, self.workspace.work_dir):
            sync(made_by_a_first_run)
        for field in self.stage.fields():
            if isinstance(field, File):
                _point(self.workspace.folder / field.directory, self.path / field.directory)
        _point(self.path, final)

    def collect(self, keep: int, dry_run: bool) -> Collected:
        """Remove generations that are neither current, in use, nor among the `keep` newest others.

        What a killed run left in the staging folder goes too. A dry run gives what would be removed.
        """
        current = self.path.resolve() if self.path.exists() else None
        others = [path for path in self.listed() if path.resolve() != current]
        removed: list[Path] = []
        in_use: list[Path] = []
        for path in others[: max(0, len(others) - keep)]:
            with unused(path) as free:
                if free and not dry_run:
                    path.rename(path.with_name(f"{_COLLECTED}-{path.name}"))
            (removed if free else in_use).append(path)
        orphans = [path for path in self.folder.glob(".*") if path.name.startswith((_COLLECTED, BUILDING))]
        freed = bytes_freed([*orphans, self.staging, *(removed if dry_run else ())])
        if not dry_run:
            for orphan in orphans:
                reach("gc.unlink")
                shutil.rmtree(orphan)
            shutil.rmtree(self.staging, ignore_errors=True)
            sweep(self.workspace.folder)
        return Collected(removed, in_use, freed)


def _point(link: Path, target: Path) -> None:
    """Swap a symlink atomically; relative, so that a work folder can be moved."""
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink() and str(link.readlink()) == relative:
        return
    if link.exists() and not link.is_symlink():
        raise PipelineError(f"{link} is in the way: it is no link of warmstore's; move it elsewhere")
    aside = link.with_name(f".{link.name}.next")
    aside.unlink(missing_ok=True)
    aside.symlink_to(relative)
    reach("publish.rename")
    aside.replace(link)
    sync(link.parent)
