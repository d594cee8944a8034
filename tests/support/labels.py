"""Writing annotation files for tests, and reading them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ocr.annotations import AnnotatedImage, read_annotations


def lay_out(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read_one(folder: Path, data: Any, format: str = "auto") -> tuple[str, dict[str, AnnotatedImage]]:
    """Read a file of the given content (JSON, where it is no bytes)."""
    path = folder / "labels"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    read = read_annotations(path, folder, format)
    return read.format, {image.file: image for image in read.images}
