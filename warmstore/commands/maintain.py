"""Commands that mend, compare and tidy stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.errors import PipelineError
from pipeline.execution import Executor
from pipeline.maintenance import collect_probes, diff_stores, repair_stage
from pipeline.planning import survey
from pipeline.runner import Builder
from pipeline.store import open_store
from pipeline.workspace import Collected, exclusive
from warmstore import show
from warmstore.commands.buckets import stores_in
from warmstore.options import Invocation, run_options, typed_store
from warmstore.workflows import collect_runs


@click.command()
@run_options(looks=True)
def repair(asked: Invocation) -> int:
    """Build what is damaged or missing anew, with the digest that was there.

    \b
    Example:
      warmstore repair --split val
    """
    results: dict[str, dict[str, dict[str, Any]]] = {}
    failures: list[str] = []
    with (
        exclusive(asked.config.work_dir, "warmstore repair"),
        show.progress() as progress,
        Executor(asked.config.executor) as executor,
    ):
        for split in asked.splits:
            results[split] = {}
            pipeline = asked.config.pipeline(split)
            builder = Builder(executor, progress, pipeline.hashes)
            for outlook in survey(pipeline):
                if not outlook.generations.path.exists():
                    continue
                try:
                    results[split][outlook.stage.name] = vars(repair_stage(outlook, builder))
                except PipelineError as error:  # one that cannot be mended must not keep the others so
                    error.spell = asked.spell
                    failures.append(str(error))
    if asked.json:
        show.print_json(results)
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
    with open_store(typed_store(a)) as old, open_store(typed_store(b)) as new:
        found = diff_stores(old, new)
    if as_json:
        show.print_json(found.as_json())
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
@run_options(words="URL", looks=True)
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

    Files that another generation or the data set shares are not counted: they stay. What runs and probes that
    were killed have left goes too. With a URL, the generations in that bucket are removed, and nothing here.

    \b
    Example:
      warmstore gc --dry-run
      warmstore gc s3://receipts/v3 --keep 2
      warmstore gc --keep 1 --runs 5
    """
    if asked.words:
        return _gc_in_buckets(asked, dry_run, keep)
    rows: list[dict[str, Any]] = []
    old_runs = Collected([], [], 0)
    with exclusive(asked.config.work_dir, "warmstore gc"):
        for split in asked.splits:
            workspace = asked.config.workspace(split)
            for stage in asked.config.stages.in_order():
                found = workspace.generations(stage).collect(keep, dry_run)
                rows.append({"split": split, "stage": stage.name, **_spelled(found)})
        if runs is not None:
            old_runs = collect_runs(asked.config.runs_dirs[0], runs, dry_run)
        probes = collect_probes(asked.config.work_dir.absolute().parent, dry_run)
    if asked.json:
        others = {"runs": _spelled(old_runs), "probes": _spelled(probes)}
        show.print_json({"dry_run": dry_run, "stores": rows, **others})
        return 0
    title = "gc (dry run: nothing is removed)" if dry_run else "gc"
    columns = ("split", "stage", "removed", "in use", "would free" if dry_run else "freed")
    lines = [
        (r["split"], r["stage"], len(r["removed"]), len(r["in_use"]), show.size(r["freed"])) for r in rows
    ]
    show.table(title, columns, lines)
    for folder, found in (("runs/", old_runs), ("", probes)):
        for path in found.removed:
            click.echo(f"{folder}{path.name}: removed")
        for path in found.in_use:
            click.echo(f"{folder}{path.name}: in use")
    total = show.size(sum(r["freed"] for r in rows) + old_runs.freed + probes.freed)
    click.echo(f"{total} would be freed" if dry_run else f"{total} freed")
    return 0


def _spelled(found: Collected) -> dict[str, Any]:
    """Give what was collected as JSON values."""
    return {
        "removed": [path.name for path in found.removed],
        "in_use": [path.name for path in found.in_use],
        "freed": found.freed,
    }


def _gc_in_buckets(asked: Invocation, dry_run: bool, keep: int) -> int:
    """Remove old generations in the buckets that were typed."""
    from pipeline.remote import collect_in_bucket

    rows: list[dict[str, Any]] = []
    for url in asked.words:
        for source in stores_in(asked, url):
            removed, freed = collect_in_bucket(source, keep, dry_run)
            rows.append({"store": str(source), "removed": removed, "freed": freed})
    if asked.json:
        show.print_json({"dry_run": dry_run, "stores": rows})
        return 0
    title = "gc (dry run: nothing is removed)" if dry_run else "gc"
    lines = [(row["store"], len(row["removed"]), show.size(row["freed"])) for row in rows]
    show.table(title, ("store", "removed", "would free" if dry_run else "freed"), lines)
    return 0
