"""A store in a bucket: how its generations lie there, and reading a sample or two in place.

<name>/<digest>/…            the files of a generation, named by its digest
<name>/current.json          the digest of the generation that readers take

A generation is complete where its `zarr.json` is: that is written last, after the manifest.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.files import write_aside
from pipeline.store.bucket import Bucket, ObjectMissing
from pipeline.store.manifest import MANIFEST, Manifest, parse_manifest
from pipeline.store.reader import Store

POINTER = "current.json"
GROUP = "zarr.json"
_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class BucketStore:
    """The generations of a store that is called `name` in a bucket (`val/tensors.zarr`)."""

    bucket: Bucket
    name: str

    def __str__(self) -> str:
        return f"{self.bucket.url}/{self.name}".rstrip("/")

    def key(self, digest: str, file: str = "") -> str:
        """Name the object of a generation's file, or a generation's folder."""
        return "/".join(part for part in (self.name, digest, file) if part)

    def current(self) -> str | None:
        """Give the digest of the generation that readers take; None where nothing was pushed yet."""
        pointer = self.key("", POINTER)
        try:
            data = self.bucket.read(pointer)
        except ObjectMissing:
            return None
        try:
            digest = str(json.loads(data)["digest"])
        except (ValueError, LookupError, TypeError):
            digest = ""
        if not _DIGEST.fullmatch(digest):
            raise StoreError(f"{self.bucket.url}/{pointer} is damaged; push the store there again")
        return digest

    def point(self, digest: str) -> None:
        """Make a generation the one that readers take."""
        self.bucket.write(self.key("", POINTER), json.dumps({"digest": digest}).encode() + b"\n")

    def digests(self) -> list[str]:
        """List the generations that are there, complete or not."""
        return [name for name in self.bucket.folders(self.name) if _DIGEST.fullmatch(name)]

    def manifest(self, digest: str) -> Manifest:
        """Read the manifest of a generation. Raises StoreError where it is missing or damaged."""
        where = self.key(digest, MANIFEST)
        manifest = parse_manifest(self.bucket.read(where), f"{self.bucket.url}/{where}")
        if manifest.digest != digest:
            raise StoreError(f"{self.bucket.url}/{where} is the manifest of {manifest.digest}")
        return manifest


def open_in_bucket(url: str) -> Store:
    """Open a store by its URL, `s3://bucket/…/val/tensors.zarr`, or that of one generation.

    Raises StoreError where there is none.
    """
    place, _, last = url.rstrip("/").rpartition("/")
    digest = last if _DIGEST.fullmatch(last) else None
    source = BucketStore(Bucket(place if digest else url), "")
    digest = digest or source.current()
    if digest is None:
        raise StoreError(f"there is no store at {url}; push one there, or give the URL of one")
    fetched = _Fetched(source, digest)
    for name in (MANIFEST, GROUP):
        fetched(name)
    return Store(fetched.folder, name=str(source), locate=fetched)


class _Fetched:
    """Files of a generation, fetched when they are asked for, into a folder that goes when nobody asks."""

    def __init__(self, source: BucketStore, digest: str) -> None:
        self.source, self.digest = source, digest
        self.folder = Path(tempfile.mkdtemp(prefix="warmstore-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def __call__(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(path, self.source.bucket.read(self.source.key(self.digest, name)))
        return path
