"""What damage in a generation means: which files are lost, and whose samples with them."""

from __future__ import annotations

from collections.abc import Sequence, Set

from pipeline.errors import shortened
from pipeline.store.manifest import scan
from pipeline.store.reader import Store


def misfits(store: Store) -> frozenset[str]:
    """List a generation's folders: which files are missing, or have another size than was written.

    Nothing is read; what has its size and other bytes is found by `verify`, and by whoever reads it.
    """
    sizes = scan(store.path)
    return frozenset(name for name, (size, _) in store.manifest.files.items() if sizes.get(name) != size)


def serving(store: Store, names: Set[str], samples: Set[str]) -> frozenset[str]:
    """Choose the files that hold any of these samples, or serve all of them."""
    return frozenset(
        name for name in names if not (held := store.samples_in(name)) or not samples.isdisjoint(held)
    )


def lost_samples(store: Store, damaged: Set[str]) -> Set[str]:
    """Give the samples that are computed again for want of files; all for one that serves all.

    Of metadata nothing is lost: a run knows what to write.
    """
    lost: set[str] = set()
    for name in damaged:
        samples = store.samples_in(name)
        if not samples and not name.endswith("zarr.json"):
            return set(store.sample_ids)
        lost.update(samples)
    return lost


def in_words(store: Store, damaged: Set[str]) -> str:
    """Say how many files are damaged, and of which samples; the files' names where they serve all."""
    lost = {sample_id for name in damaged for sample_id in store.samples_in(name)}
    named: Sequence[str] = [i for i in store.sample_ids if i in lost] if lost else sorted(damaged)
    files = "1 file is" if len(damaged) == 1 else f"{len(damaged)} files are"
    return f"{files} missing or of another size ({shortened(named, 3)})"
