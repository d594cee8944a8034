"""Bringing a store from a bucket: fetched aside, checked, and published by a rename."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.digest import digest
from pipeline.errors import Remedy, StoreError
from pipeline.files import checksum, link_or_copy, sync_all, write_aside
from pipeline.maintenance import verify_store
from pipeline.remote.transfers import each
from pipeline.store import MANIFEST, BucketStore, Manifest, Store, open_store
from pipeline.workspace import Generations

_ASIDE, _ORIGIN = ".pulled", "pulled.json"
_ATTEMPTS = 2


@dataclass(frozen=True)
class Pulled:
    """Files and bytes of a store that is here now, and how many a pull fetched, or linked from here."""

    store: str
    digest: str
    files: int
    bytes: int
    fetched: int
    linked: int

    def as_json(self) -> dict[str, Any]:
        """Give the result as JSON values."""
        return asdict(self)


def pull(source: BucketStore, target: Generations, start: Callable[[int], Callable[[int], None]]) -> Pulled:
    """Fetch the generation that a bucket's readers take, and make it the current one here.

    What an interrupted pull has fetched and what the generation before holds is taken from there. A store
    that is here whole stays. `start` is called with the number of files, and what it gives with files done
    since. Raises StoreError where there is none, or a file arrives damaged twice.
    """
    name = source.current()
    if name is None:
        raise StoreError(f"there is no {source}", Remedy("push", (source.bucket.url,), " where the store is"))
    manifest = source.manifest(name)
    old = _openable(target)
    if old is not None and old.digest == name and not verify_store(target.path).damaged:
        return Pulled(str(target.path), name, len(manifest.files), manifest.size, 0, 0)
    fetching = _Fetching(
        source, manifest, target.workspace.folder / _ASIDE / f"{target.stage.name}-{name}", old
    )
    done = each(fetching.bring, manifest.files, start(len(manifest.files)))
    fetching.publish(target)
    return Pulled(str(target.path), name, len(manifest.files), manifest.size, done["fetched"], done["linked"])


def origin(target: Generations) -> str | None:
    """Give the URL that the current generation was pulled from; None for one that was made here."""
    with suppress(OSError, ValueError, LookupError, StoreError):
        told = json.loads((target.folder / _ORIGIN).read_bytes())
        if told["generation"] == target.path.resolve().name:
            return str(told["url"])
    return None


@dataclass(frozen=True)
class _Fetching:
    source: BucketStore
    manifest: Manifest
    folder: Path
    old: Store | None

    def bring(self, name: str) -> str:
        """See to it that a file lies in the folder, whole."""
        path, wanted = self.folder / name, self.manifest.files[name]
        if path.exists():
            if checksum(path) == wanted:
                return "there"
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.old is not None and self.old.manifest.files.get(name) == wanted:
            with suppress(OSError):
                if checksum(self.old.file(name)) == wanted:
                    link_or_copy(self.old.file(name), path)
                    return "linked"
        key = self.source.key(self.manifest.digest, name)
        for _ in range(_ATTEMPTS):
            data = self.source.bucket.read(key)
            if digest(data).hex() == wanted[1]:
                write_aside(path, data)
                return "fetched"
        url = self.source.bucket.url
        raise StoreError(
            f"{url}/{key} does not match its checksum; the rest is kept for the next pull",
            Remedy("push", (url, "--check"), " where the store was made"),
        )

    def publish(self, target: Generations) -> None:
        """Make the folder the current generation."""
        write_aside(self.folder / MANIFEST, self.manifest.dump())
        names = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]
        sync_all(self.folder, [*names, "."])
        building = target.begin()
        building.rmdir()
        self.folder.rename(building)
        target.publish(building, self.manifest.digest)
        told = {"generation": target.path.resolve().name, "url": self.source.bucket.url}
        write_aside(target.folder / _ORIGIN, json.dumps(told).encode())
        shutil.rmtree(self.folder.parent)


def _openable(target: Generations) -> Store | None:
    """Open the current generation where there is one that can be."""
    with suppress(StoreError):
        return open_store(target.path)
    return None
