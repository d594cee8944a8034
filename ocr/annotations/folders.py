"""Folders of images and of label files: which label file belongs to which image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ocr.annotations.problems import failure

IMAGE_SUFFIXES = frozenset(["jpg", "jpeg", "jpe", "jfif", "mpo", "png", "webp", "tif", "tiff", "bmp"])


def walk_files(root: Path) -> Iterator[str]:
    """Give the relative POSIX path of every file under `root`, sorted.

    Hidden files and folders are left out, and linked folders are not entered.
    """
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        start = "" if folder == str(root) else Path(folder).relative_to(root).as_posix() + "/"
        yield from (start + name for name in sorted(files) if not name.startswith("."))


def image_files(root: Path) -> Iterator[str]:
    """Give the relative POSIX path of every file under `root` that is called like an image."""
    return (name for name in walk_files(root) if name.rpartition(".")[2].lower() in IMAGE_SUFFIXES)


def images_by_stem(root: Path) -> dict[str, list[str]]:
    """Group the images under `root` by their path without the suffix."""
    stems: dict[str, list[str]] = {}
    for name in image_files(root):
        stems.setdefault(name.rpartition(".")[0], []).append(name)
    return stems


def label_files(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Give each label file under `path` (or `path` itself), and its relative path without the suffix.

    A link that leads out of the folder is refused before anything in it is read.
    """
    if path.is_file():
        yield path, path.stem
        return
    names = [name for name in walk_files(path) if name.lower().endswith(suffixes)]
    if not names:
        expected = " or ".join(f"*{suffix}" for suffix in suffixes)
        raise failure(path, "the folder", f"label files {expected}", "none")
    root = path.resolve()
    for name in names:
        if not (path / name).resolve().is_relative_to(root):
            raise failure(
                path / name, "the file", f"a label file that lies below {path}", "a link that leads out"
            )
        yield path / name, name.rpartition(".")[0]
