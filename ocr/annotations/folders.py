"""Folders of images and of label files: which label file belongs to which image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ocr.annotations.labels import Labels
from ocr.annotations.problems import failure

IMAGE_SUFFIXES = frozenset(["jpg", "jpeg", "jpe", "jfif", "mpo", "png", "webp", "tif", "tiff", "bmp"])
BESIDE_LABELS = frozenset(["classes", "predefined_classes", "labels", "obj", "readme", "license", "notes"])


def walk_files(root: Path, follow_links: bool = False) -> Iterator[str]:
    """Give the relative POSIX path of every file under `root`, sorted.

    Hidden files and folders are left out; linked folders are entered with `follow_links` only, each once.
    """
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=follow_links):
        if follow_links:  # two links may lead round in a circle
            real = os.path.realpath(folder)
            if real in entered:
                folders.clear()
                continue
            entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        start = "" if folder == str(root) else Path(folder).relative_to(root).as_posix() + "/"
        yield from (start + name for name in sorted(files) if not name.startswith("."))


def image_files(root: Path, follow_links: bool = False) -> Iterator[str]:
    """Give the relative POSIX path of every file under `root` that is called like an image."""
    names = walk_files(root, follow_links)
    return (name for name in names if name.rpartition(".")[2].lower() in IMAGE_SUFFIXES)


def images_by_stem(labels: Labels) -> dict[str, list[str]]:
    """Group the images by their path without the suffix."""
    stems: dict[str, list[str]] = {}
    for name in image_files(labels.images, labels.options.follow_links):
        stems.setdefault(name.rpartition(".")[0], []).append(name)
    return stems


def label_files(
    labels: Labels, suffixes: tuple[str, ...], by_stem: Mapping[str, list[str]]
) -> Iterator[tuple[Path, str]]:
    """Give each label file under `path` (or `path` itself), and its relative path without the suffix.

    A link that leads out of the folder is refused before anything in it is read, unless links are
    followed. What tools put beside labels (`classes.txt`) is passed over where no image is called so.
    """
    path, follow = labels.path, labels.options.follow_links
    if path.is_file():
        yield path, path.stem
        return
    names = [name for name in walk_files(path, follow) if name.lower().endswith(suffixes)]
    if not names:
        expected = " or ".join(f"*{suffix}" for suffix in suffixes)
        raise failure(path, "the folder", f"label files {expected}", "none")
    root = path.resolve()
    for name in names:
        stem = name.rpartition(".")[0]
        if stem.rpartition("/")[2].lower() in BESIDE_LABELS and stem not in by_stem:
            labels.remarks.add(name, "is no label file of an image and was passed over")
        elif not follow and not (path / name).resolve().is_relative_to(root):
            raise failure(
                path / name,
                "the file",
                f"a label file that lies below {path}",
                "a link that leads out; data.splits.<split>.follow_links=true follows such links",
            )
        else:
            yield path / name, stem
