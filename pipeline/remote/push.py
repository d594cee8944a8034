"""Bringing a store into a bucket: what is missing there, so that one half sent does not open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pipeline.digest import digest
from pipeline.errors import REPAIR, StoreError
from pipeline.files import checksum_of
from pipeline.remote.transfers import each
from pipeline.store import GROUP, MANIFEST, BucketStore, ObjectMissing, Store


@dataclass(frozen=True)
class Pushed:
    """Files and bytes of a store in a bucket, and what a push did: files sent, and copied over there."""

    store: str
    digest: str
    files: int
    bytes: int
    sent: int
    copied: int

    def as_json(self) -> dict[str, Any]:
        """Give the result as JSON values."""
        return asdict(self)


def push(store: Store, target: BucketStore, advance: Callable[[int], None], check: bool = False) -> Pushed:
    """Send the files of a store that the bucket lacks, and make its generation the one that readers take.

    A file that the generation before has is copied over there. With `check`, those that lie there are read
    back, and sent again where they are damaged. `advance` is called with files done since; a few files are
    in memory. Raises StoreError; the next push goes on.
    """
    files, there = store.manifest.files, target.bucket.sizes(target.key(store.digest))
    before = target.current()
    known: dict[str, str] = {}
    if before not in (None, store.digest) and not check:
        known = {
            checksum: target.key(before, name)
            for name, (_, checksum) in target.manifest(before).files.items()
        }
    send = partial(_send, store, target, {} if check else known)

    def bring(name: str) -> str:
        key = target.key(store.digest, name)
        whole = there.get(name) == files[name][0]
        if whole and check:
            whole = checksum_of(target.bucket.stream(key)) == files[name]
        return "there" if whole else send(name)

    done = each(bring, sorted(files, key=_is_metadata)[:-1], advance)
    target.bucket.write(target.key(store.digest, MANIFEST), store.manifest.dump())
    done[bring(GROUP)] += 1
    advance(1)
    target.point(store.digest)
    return Pushed(str(target), store.digest, len(files), store.manifest.size, done["sent"], done["copied"])


def _is_metadata(name: str) -> int:
    """Order chunks before what says how they are read, and the group's own metadata last."""
    return 2 if name == GROUP else int(name.endswith(f"/{GROUP}"))


def _send(store: Store, target: BucketStore, known: dict[str, str], name: str) -> str:
    checksum, key = store.manifest.files[name][1], target.key(store.digest, name)
    if checksum in known:
        try:
            target.bucket.copy(known[checksum], key)
            return "copied"
        except ObjectMissing:  # somebody collects what is old
            pass
    data = store.file(name).read_bytes()
    if digest(data).hex() != checksum:
        raise StoreError(f"{store.path / name} does not match its checksum and is not sent", REPAIR)
    target.bucket.write(key, data)
    return "sent"
