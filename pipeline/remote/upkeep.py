"""Looking after the stores in a bucket: every object against its checksum, and removing old generations."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import Remedy, StoreError
from pipeline.files import checksum_of
from pipeline.maintenance import DamagedFile, Verification
from pipeline.remote.transfers import each
from pipeline.store import GROUP, MANIFEST, BucketStore


def verify_in_bucket(source: BucketStore, start: Callable[[int], Callable[[int], None]]) -> Verification:
    """Read every object of the generation that readers take, and hold it against the manifest.

    `start` is called with the number of objects, and what it gives with objects done since.
    Raises StoreError where there is none, or its manifest is damaged.
    """
    name = source.current()
    if name is None:
        raise StoreError(f"there is no {source}", Remedy("push", (source.bucket.url,), " where the store is"))
    manifest, there = source.manifest(name), source.bucket.sizes(source.key(name))
    remedy = Remedy("push", (source.bucket.url, "--check"), " where the store was made")
    damaged: list[DamagedFile] = []

    def check(file: str) -> str:
        size, checksum = manifest.files[file]
        if file not in there:
            problem = "is missing"
        elif there[file] != size:
            problem = f"has {there[file]} bytes where {size} were written"
        elif checksum_of(source.bucket.stream(source.key(name, file))) != (size, checksum):
            problem = "does not match its checksum"
        else:
            return "whole"
        damaged.append(DamagedFile(file, problem, remedy=remedy))
        return "damaged"

    each(check, manifest.files, start(len(manifest.files)))
    damaged += [
        DamagedFile(file, "is not in the manifest", remedy=None)
        for file in sorted(there.keys() - manifest.files.keys() - {MANIFEST})
    ]
    return Verification(len(manifest.files), manifest.size, sorted(damaged, key=lambda found: found.file))


def collect_in_bucket(source: BucketStore, keep: int, dry_run: bool) -> tuple[list[str], int]:
    """Remove old generations but the `keep` newest; gives those that go (or would), and their bytes.

    One without its `zarr.json` may be on its way up and stays.
    """
    current = source.current()
    complete = {
        # The manifest is never a copy, which may have the time of what it was copied from.
        name: source.bucket.modified(source.key(name, MANIFEST))
        for name in source.digests()
        if name != current and GROUP in source.bucket.sizes(source.key(name))
    }
    oldest_first = sorted(complete, key=lambda name: complete[name])
    going, freed = oldest_first[: max(0, len(oldest_first) - keep)], 0
    for name in going:
        sizes = source.bucket.sizes(source.key(name))
        freed += sum(sizes.values())
        if not dry_run:
            # From now on it is not complete: whoever opens it is told so.
            source.bucket.delete([source.key(name, GROUP)])
            source.bucket.delete(source.key(name, file) for file in sizes if file != GROUP)
    return going, freed
