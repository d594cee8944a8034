"""Commands that check, mend, compare and tidy stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pipeline.diff import diff_stores
from pipeline.errors import ConfigError, PipelineError, StoreError, unknown_sample
from pipeline.repair import repair_stage
from pipeline.store import open_store
from pipeline.verify import RUN, Damage, Verification, compare_with_source, names_in, verify_store
from pipeline.workspace import Collected, exclusive
from stages import STAGES
from warmstore import show
from warmstore.options import Invocation, run_options
from warmstore.runs import collect_runs


@click.command()
@run_options(words="STORE")
@click.option("--against-source", is_flag=True, help="Also recompute samples and compare bit for bit.")
@click.option(
    "--sample",
    "samples",
    multiple=True,
    metavar="ID",
    help="Check this sample only, in every split that has it (repeatable).",
)
def verify(asked: Invocation, against_source: bool, samples: tuple[str, ...]) -> int:
    """Check every file of every store against its checksum; or of the stores whose paths are given.

    \b
    Example:
      warmstore verify --split val
      warmstore verify /mnt/copy/tensors.zarr
      warmstore verify --sample receipt-00003.jpg
      warmstore verify --against-source --sample receipt-00003.jpg --split val
    """
    chosen = frozenset(samples)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    if asked.words:
        if against_source:
            raise ConfigError("--against-source goes with splits: a path does not tell its source")
        stores = {word: [_named(Path(word))] for word in asked.words}
        for word, only in _holders("these stores", stores, chosen).items():
            results[word] = {"store": verify_store(Path(word), only=only).to_json()}
    else:
        stores = {split: _built(asked, split) for split in asked.splits}
        listed = {split: _listed(asked, split) for split in asked.splits if against_source and chosen}
        where = f"split {' or '.join(asked.splits)}"
        for split, only in _holders(where, stores, chosen, listed).items():
            results[split] = _verify_split(asked, split, only)
            if against_source:
                pipeline = asked.config.pipeline(split)
                built = [
                    stage.name for stage in pipeline.stages if pipeline.workspace.open(stage) is not None
                ]
                for name, found in compare_with_source(pipeline, built, only):
                    results[split][name]["recomputed"] = found.recomputed
                    results[split][name]["differs_from_source"] = found.differs
    found_any = any(
        r["damaged"] or r["differs_from_source"] for stages in results.values() for r in stages.values()
    )
    if asked.json:
        show.as_json(results)
    else:
        _print_verified(results)
    return int(found_any)


def _named(path: Path) -> Path:
    """Give the path of a store that a user typed. Raises ConfigError where there is no folder."""
    if not path.is_dir():
        raise ConfigError(f"there is no store at {path}; give a store's folder, such as work/val/maps.zarr")
    return path


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
        raise unknown_sample(where, min(chosen - everything), sorted(everything))
    return {name: chosen & names for name, names in known.items() if chosen & names}


def _built(asked: Invocation, split: str) -> list[Path]:
    """Give the paths of a split's stores that there are."""
    paths = map(asked.config.workspace(split).store_path, asked.config.stages.in_order())
    return [path for path in paths if path.exists()]


def _listed(asked: Invocation, split: str) -> set[str]:
    """Give the names of the samples that the split's source lists now."""
    pipeline = asked.config.pipeline(split)
    found = pipeline.candidates(pipeline.stages[0])
    return {*found.sample_ids, *(verdict["sample_id"] for verdict in found.verdicts)}


def _verify_split(asked: Invocation, split: str, only: frozenset[str]) -> dict[str, dict[str, Any]]:
    """Check the stores of a split; one that was never built has nothing to check."""
    workspace, results = asked.config.workspace(split), {}
    for stage in asked.config.stages.in_order():
        path = workspace.store_path(stage)
        if path.exists():
            results[stage.name] = verify_store(path, only=only).to_json()
        elif path.is_symlink():
            lost = Damage(stage.store, "is lost", remedy=f"{RUN} {stage.name}")
            results[stage.name] = Verification(damaged=[lost]).to_json()
        else:
            results[stage.name] = {**Verification().to_json(), "built": False}
    return results


def _print_verified(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    columns = ("split", "stage", "files", "size", "damaged", "recomputed", "differ")
    rows = [
        (
            split,
            name,
            r["checked"],
            show.size(r["bytes"]) if r.get("built", True) else "not built",
            len(r["damaged"]),
            r["recomputed"],
            len(r["differs_from_source"]),
        )
        for split, stages in results.items()
        for name, r in stages.items()
    ]
    show.table("verify", columns, rows)
    for split, stages in results.items():
        for name, r in stages.items():
            for damage in r["damaged"][:10]:
                of = f" of {show.shortened(damage['samples'])}" if damage["samples"] else ""
                click.echo(
                    f"{split} {name}: {damage['file']}{of} {damage['problem']}; run `{damage['remedy']}`"
                )
            for difference in r["differs_from_source"][:10]:
                click.echo(f"{split} {name}: {difference['sample_id']} {difference['problem']}")


@click.command()
@run_options()
def repair(asked: Invocation) -> int:
    """Rebuild exactly the files that are damaged or missing.

    \b
    Example:
      warmstore repair --split val
    """
    results: dict[str, dict[str, dict[str, Any]]] = {}
    failures: list[str] = []
    with exclusive(asked.config.work_dir, "warmstore repair"), show.progress() as progress:
        for split in asked.splits:
            pipeline = asked.config.pipeline(split)
            results[split] = {}
            for stage in pipeline.stages:
                if not pipeline.workspace.store_path(stage).exists():
                    continue
                try:
                    done = repair_stage(pipeline, stage, asked.config.executor, progress)
                    results[split][stage.name] = vars(done)
                except PipelineError as error:  # one that cannot be mended must not keep the others so
                    failures.append(str(error))
    if asked.json:
        show.as_json(results)
    else:
        columns = ("split", "stage", "damaged", "repaired", "recomputed", "digest")
        rows = [
            (split, name, *(r[key] for key in ("damaged", "repaired", "recomputed", "digest")))
            for split, stages in results.items()
            for name, r in stages.items()
        ]
        show.table("repair", columns, rows)
    if failures:
        raise PipelineError("; ".join(failures))
    return 0


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
def diff(a: Path, b: Path, as_json: bool, debug: bool) -> int:
    """Say what differs between two stores: samples, fields, parameters.

    Exits with 1 where something does.

    \b
    Example:
      warmstore diff work/val/maps.zarr elsewhere/val/maps.zarr
    """
    with open_store(_named(a)) as old, open_store(_named(b)) as new:
        found = diff_stores(old, new)
    if as_json:
        show.as_json(found.to_json())
        return int(not found.same)
    for change in found.recipe:
        click.echo(f"recipe: {change}")
    for sign, names in (("+", found.added), ("-", found.removed)):
        for name in names:
            click.echo(f"{sign} {name}")
    for name, fields in found.changed.items():
        click.echo(f"~ {name}: {', '.join(fields)}")
    if found.reordered:
        click.echo("the common samples stand in another order")
    if found.same:
        click.echo("no difference")
    return int(not found.same)


@click.command()
@run_options()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Keep the newest K old generations.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also remove runs, with their checkpoints, but the newest N of each kind; none otherwise.",
)
def gc(asked: Invocation, dry_run: bool, keep: int, runs: int | None) -> int:
    """Remove old generations that nobody reads, never the current one, and say how many bytes that frees.

    Files that another generation or the data set shares are not counted: they stay.

    \b
    Example:
      warmstore gc --dry-run
      warmstore gc --keep 1 --runs 5
    """
    rows: list[dict[str, Any]] = []
    old_runs = Collected([], [], 0)
    with exclusive(asked.config.work_dir, "warmstore gc"):
        for split in asked.splits:
            workspace = asked.config.workspace(split)
            for stage in STAGES:
                wired = getattr(asked.config.stages, stage.name)
                found = workspace.collect(wired, keep, dry_run)
                rows.append(
                    {
                        "split": split,
                        "stage": stage.name,
                        "removed": [path.name for path in found.removed],
                        "in_use": [path.name for path in found.in_use],
                        "freed": found.freed,
                    }
                )
        if runs is not None:
            old_runs = collect_runs(asked.config.work_dir, runs, dry_run)
    told: dict[str, Any] = {
        "removed": [path.name for path in old_runs.removed],
        "in_use": [path.name for path in old_runs.in_use],
        "freed": old_runs.freed,
    }
    if asked.json:
        show.as_json({"dry_run": dry_run, "stores": rows, "runs": told})
        return 0
    title = "gc (dry run: nothing is removed)" if dry_run else "gc"
    columns = ("split", "stage", "removed", "in use", "would free" if dry_run else "freed")
    lines = [
        (r["split"], r["stage"], len(r["removed"]), len(r["in_use"]), show.size(r["freed"])) for r in rows
    ]
    show.table(title, columns, lines)
    for what in ("removed", "in_use"):
        for name in told[what]:
            click.echo(f"runs/{name}: {what.replace('_', ' ')}")
    total = show.size(sum(r["freed"] for r in rows) + old_runs.freed)
    click.echo(f"{total} would be freed" if dry_run else f"{total} freed")
    return 0
