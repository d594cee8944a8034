"""Who holds a generation or a run: a shared lock on its folder, and `gc` removes what has none."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import BUILD, StoreError


def hold_current(path: Path) -> tuple[int, Path]:
    """Resolve a store's name to the current generation and take its shared lock."""
    while True:
        try:
            resolved = path.resolve()
            descriptor = os.open(resolved, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if path.is_symlink() and not (path.parent / path.readlink()).parent.is_dir():
                raise StoreError(
                    f"{path} leads to {path.readlink()}, which is not there: of a store that was copied, the "
                    "link alone came along; copy it with `cp -rL`, `rsync -aL` or `tar --dereference`"
                ) from None
            raise StoreError(f"there is no store at {path} ({error.strerror})", BUILD) from None
        # Without locks `gc` refuses to run, so there is none to fear on this host.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if resolved.is_dir():
            return descriptor, resolved
        os.close(descriptor)  # collected between the two steps: the name leads to a newer one by now


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Tell whether nobody uses a folder, and keep it so: who does holds a shared lock on it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
