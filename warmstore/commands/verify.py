"""The command that checks stores: every file, and samples against their source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from pipeline.errors import RUN, ConfigError, PipelineError, Remedy, StoreError, UnknownSampleError, shortened
from pipeline.maintenance import RETRY, DamagedFile, Verification, compare_with_source, names_in, verify_store
from pipeline.remote import origin
from pipeline.store import is_url, open_store
from warmstore import show
from warmstore.commands.buckets import stores_in
from warmstore.options import Invocation, run_options, typed_store

_ELSEWHERE = "mend it with the run that makes it, or copy it again"


@click.command()
@run_options(words="STORE or URL", looks=True)
@click.option("--against-source", is_flag=True, help="Also recompute samples and compare bit for bit.")
@click.option(
    "--sample",
    "samples",
    multiple=True,
    metavar="ID",
    help="Check this sample only, in every split that has it (repeatable).",
)
def verify(asked: Invocation, against_source: bool, samples: tuple[str, ...]) -> int:
    """Check every file of every store against its checksum; or of the stores whose paths or URL are given.

    \b
    Example:
      warmstore verify --split val
      warmstore verify /mnt/copy/tensors.zarr
      warmstore verify s3://receipts/v3
      warmstore verify --sample receipt-00003.jpg
      warmstore verify --against-source --sample receipt-00003.jpg --split val
    """
    chosen = frozenset(samples)
    results: dict[str, dict[str, Verification | None]] = {}
    if asked.words:
        if against_source:
            raise ConfigError("--against-source goes with splits: a path does not tell its source")
        urls = [word for word in asked.words if is_url(word)]
        if urls and chosen:
            raise ConfigError("--sample goes with splits and paths; of a bucket everything is read")
        results |= {url: _verify_bucket(asked, url) for url in urls}
        stores = {word: [typed_store(Path(word))] for word in asked.words if word not in urls}
        for word, only in _holders("these stores", stores, chosen).items():
            results[word] = {"store": _verify_path(asked, Path(word), only)}
    else:
        stores = {split: _built(asked, split) for split in asked.splits}
        listed = {split: _listed(asked, split) for split in asked.splits if against_source and chosen}
        where = f"split {' or '.join(asked.splits)} of {asked.composed.name}"
        for split, only in _holders(where, stores, chosen, listed).items():
            results[split] = _verify_split(asked, split, only)
            if against_source:
                pipeline = asked.config.pipeline(split)
                built = [
                    stage.name
                    for stage in pipeline.stages
                    if pipeline.workspace.generations(stage).open() is not None
                ]
                for name, found in compare_with_source(pipeline, built, only).items():
                    checked = results[split][name] or found
                    checked.recomputed, checked.differs = found.recomputed, found.differs
    if asked.json:
        nothing = {**Verification().as_json(), "built": False}
        show.print_json(
            {
                w: {n: r.as_json(asked.spell) if r else nothing for n, r in s.items()}
                for w, s in results.items()
            }
        )
    else:
        _print_verified(asked, results)
    if not any(r is not None for stages in results.values() for r in stages.values()):
        raise PipelineError(f"nothing is built in {asked.config.work_dir}, so nothing was checked", RUN)
    return int(any(r is not None and not r.passed for stages in results.values() for r in stages.values()))


def _holders(
    where: str,
    stores: Mapping[str, Sequence[Path]],
    chosen: frozenset[str],
    listed: Mapping[str, set[str]] | None = None,
) -> dict[str, frozenset[str]]:
    """Find for each split (or path) those of the samples that it has; all have all where none is chosen.

    Raises ConfigError where a sample is nowhere. A store that cannot be read may hold any of them.
    """
    if not chosen:
        return dict.fromkeys(stores, chosen)
    known: dict[str, set[str]] = {}
    for name, paths in stores.items():
        known[name] = set((listed or {}).get(name, ()))
        for path in paths:
            try:
                with open_store(path) as store:
                    known[name] |= names_in(store)
            except StoreError:
                known[name] |= chosen
    everything = set().union(*known.values())
    if chosen - everything:
        raise UnknownSampleError(where, min(chosen - everything), sorted(everything))
    return {name: chosen & names for name, names in known.items() if chosen & names}


def _built(asked: Invocation, split: str) -> list[Path]:
    """Give the paths of a split's stores that there are."""
    workspace = asked.config.workspace(split)
    paths = [workspace.generations(stage).path for stage in asked.config.stages.in_order()]
    return [path for path in paths if path.exists()]


def _listed(asked: Invocation, split: str) -> set[str]:
    """Give the names of the samples that the split's source lists now."""
    return {sample.sample_id for sample in asked.config.pipeline(split).samples()}


def _verify_path(asked: Invocation, path: Path, only: frozenset[str]) -> Verification:
    """Check a store by its path; what is damaged in one that the run does not make cannot be mended by it."""
    found = verify_store(path, only=only)
    made = [store for split in asked.splits for store in _built(asked, split)]
    if path.resolve() not in [store.resolve() for store in made]:
        found.damaged = [replace(damage, remedy=None) for damage in found.damaged]
    return found


def _verify_bucket(asked: Invocation, url: str) -> dict[str, Verification | None]:
    """Read every object of the stores in a bucket."""
    from pipeline.remote import verify_in_bucket

    results: dict[str, Verification | None] = {}
    with show.progress() as progress:
        for source in stores_in(asked, url):
            split, _, name = source.name.partition("/")
            results[source.name] = verify_in_bucket(source, partial(progress.begin, split, name))
    return results


def _verify_split(asked: Invocation, split: str, only: frozenset[str]) -> dict[str, Verification | None]:
    """Check the stores of a split; None for one that was never built."""
    workspace = asked.config.workspace(split)
    results: dict[str, Verification | None] = {}
    for stage in asked.config.stages.in_order():
        path = workspace.generations(stage).path
        if path.exists():
            results[stage.name] = found = verify_store(path, only=only)
            if url := origin(workspace.generations(stage)):
                remedy = Remedy("pull", (url, stage.name))
                found.damaged = [replace(damage, remedy=remedy) for damage in found.damaged]
        elif path.is_symlink():
            lost = DamagedFile(stage.store, "is lost", remedy=Remedy("run", (stage.name,)))
            results[stage.name] = Verification(damaged=[lost])
        else:
            results[stage.name] = None
    return results


def _print_verified(asked: Invocation, results: Mapping[str, Mapping[str, Verification | None]]) -> None:
    columns = ("split", "stage", "files", "size", "damaged", "recomputed", "differ")
    found = [(split, name, r) for split, stages in results.items() for name, r in stages.items()]
    rows = [
        (split, name, r.checked, show.size(r.bytes), len(r.damaged), r.recomputed, len(r.differs))
        if r
        else (split, name, 0, "not built", 0, 0, 0)
        for split, name, r in found
    ]
    show.table("verify", columns, rows, least=("recomputed", "differ", "size", "files"))
    for split, name, r in found:
        for damage in r.damaged[:10] if r else ():
            of = f" of {shortened(damage.samples)}" if damage.samples else ""
            told = damage.remedy.told(asked.spell) if damage.remedy else _ELSEWHERE
            click.echo(f"{split} {name}: {damage.file}{of} {damage.problem}; {told}")
        for contested in r.contested[:10] if r else ():
            click.echo(f"{split} {name}: {contested}; {RETRY.told(asked.spell)}")
        for difference in r.differs[:10] if r else ():
            click.echo(f"{split} {name}: {difference['sample_id']} {difference['problem']}")
