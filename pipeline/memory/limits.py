"""How much memory this process may still take: the machine's, or what its control group leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be taken without swapping, page cache that the kernel would drop included.

    Limits of control groups count, of version 1 and 2 and of every group above the process's own.
    `root` stands in for the file system's root in tests.
    """
    free = int(psutil.virtual_memory().available)
    return max(0, min([free, *_left_by_groups(root)]))


def _left_by_groups(root: Path) -> Iterator[int]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names = ("memory.max", "memory.current", "")
            yield from _left(root / "sys/fs/cgroup", path, names)
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
            yield from _left(root / "sys/fs/cgroup/memory", path, names)


def _left(mount: Path, path: str, names: tuple[str, str, str]) -> Iterator[int]:
    """What a group and each one above it leave; inside a container only the mount itself is visible."""
    limit_name, usage_name, prefix = names
    group = mount / path.lstrip("/")
    for folder in (group, *group.parents):
        # A group without the controller, or without a limit ("max"), limits nothing.
        with contextlib.suppress(OSError, ValueError, KeyError):
            limit = int((folder / limit_name).read_text())
            usage = int((folder / usage_name).read_text())
            entries = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
            stat = {name: int(value) for name, value in entries}
            cache = stat[f"{prefix}inactive_file"] + stat[f"{prefix}active_file"]
            yield limit - usage + cache
        if folder == mount:
            return
