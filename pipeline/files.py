"""Files that are whole or not there: written aside, synced where it matters, renamed into place."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.failpoints import reach

if TYPE_CHECKING:
    from typing_extensions import Buffer

TEMPORARY = ".tmp"
_FEW = 64
_PIECE = 1 << 16  # stays in the cache between reading and hashing, and is no mapping of its own each time
_NO_SUCH_CALL = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES, errno.ENOSYS)


def checksum(path: Path | str) -> tuple[int, str]:
    """Size and hex checksum of a file, read in pieces so that memory stays flat."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return checksum_of(iter(partial(os.read, descriptor, _PIECE), b""))
    finally:
        os.close(descriptor)


def read_file(path: Path | str) -> bytes:
    """Read a file whole: pathlib takes twice as long as these calls, and there are thousands."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(partial(os.read, descriptor, max(_PIECE, os.fstat(descriptor).st_size)), b""))
    finally:
        os.close(descriptor)


def checksum_of(pieces: Iterable[bytes | memoryview]) -> tuple[int, str]:
    """Size and hex checksum (xxh3-128) of all pieces end to end."""
    import xxhash

    state, size = xxhash.xxh3_128(), 0
    for piece in pieces:
        state.update(piece)
        size += len(piece)
    return size, state.hexdigest()


def refusal(error: OSError, folder: Path) -> str:
    """Say what the operating system refused below a folder: a disk with room may have no inode left."""
    if error.errno == errno.ENOSPC:
        with contextlib.suppress(OSError):
            status = os.statvfs(folder)
            if status.f_files and not status.f_favail and status.f_bavail:
                return "no inode is left for another file, though there is room (`df -i` shows it)"
    return error.strerror or str(error)


def write_new(path: Path | str, data: Buffer, point: str = "chunk") -> None:
    """Write a file that is not there yet. Raises FileExistsError where it is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        append(descriptor, data, point)
    finally:
        os.close(descriptor)


def write_aside(path: Path | str, data: Buffer, point: str = "chunk") -> None:
    """Write `data` under a temporary name beside `path` and rename it.

    Nobody sees half of it. Not synced: what must outlive a power cut is synced at publish. Safe when two
    tasks write the same file at once, since temporary names differ and renaming is atomic.
    """
    temporary = _beside(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            append(descriptor, data, point)
        finally:
            os.close(descriptor)
        reach(f"{point}.rename")
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _beside(path: Path | str) -> str:
    """Name for a file in the making, for this thread alone; a name of 255 bytes has no room for more.

    As text: pathlib takes longer than the system's calls, and there are thousands of files.
    """
    folder, separator, name = os.fspath(path).rpartition(os.sep)
    return f"{folder}{separator}{name[:40]}.{os.getpid()}-{threading.get_native_id()}{TEMPORARY}"


def append(descriptor: int, data: Buffer, point: str) -> None:
    """Write until all is written: a single `write` may stop early (disk nearly full, signals, 2 GiB)."""
    view, cut_short = memoryview(data).cast("B"), reach(f"{point}.write") == "short"
    while view:
        part = view[: max(1, len(view) // 2)] if cut_short else view
        cut_short = False
        view = view[os.write(descriptor, part) :]


def link_or_copy(source: Path | str, target: Path | str) -> bool:
    """Hard-link `source` as `target`; copy where the file system cannot link. Tells whether it linked.

    A copy is not synced.
    """
    reach("assemble.link")
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        temporary = _beside(target)
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)  # noqa: PTH105
        return False
    return True


def linked_outside(generation: Path, name: str) -> bool:
    """Tell whether a file has a link besides those in a store's generations: a raw file is one with it.

    Such a file changes when the raw one is edited in place.
    """
    try:
        status = (generation / name).stat()
    except OSError:
        return False
    own = 0
    for other in generation.parent.iterdir():
        with contextlib.suppress(OSError):
            own += os.path.samestat(status, (other / name).stat())
    return status.st_nlink > own


def bytes_freed(folders: Iterable[Path]) -> int:
    """Add up the bytes that removing folders frees: of the files that have no link outside them."""
    links: Counter[tuple[int, int]] = Counter()
    freed = 0
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                status = os.lstat(f"{path}/{name}")
                links[status.st_dev, status.st_ino] += 1
                if links[status.st_dev, status.st_ino] == status.st_nlink:
                    freed += status.st_size
    return freed


def sync(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    reach("fsync")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path, names: Sequence[str]) -> None:
    """Flush many files and directories below `folder`, on one file system.

    A flush of each costs about a millisecond; beyond some dozens, flushing the whole file system in
    one call is faster by far, where the system offers it.
    """
    if len(names) > _FEW and _sync_file_system(folder):
        return
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sync, map(folder.joinpath, names)))


def _sync_file_system(path: Path) -> bool:
    """Flush the file system of `path` (Linux `syncfs`); False where it offers no such call."""
    call = ctypes.CDLL(None, use_errno=True).syncfs
    reach("fsync")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if call(descriptor) != 0:
            code = ctypes.get_errno()
            if code in _NO_SUCH_CALL:  # some file systems of networks and of containers
                return False
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)
    return True


def sweep(folder: Path, suffix: str = TEMPORARY) -> None:
    """Remove the files of a suffix, temporary ones, that a killed run left in `folder`."""
    for path in folder.glob(f"*{suffix}"):
        path.unlink(missing_ok=True)


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write on the file system of `folder` (or its nearest parent)."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
