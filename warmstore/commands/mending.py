"""Commands that check, mend, compare and tidy stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.diff import diff_stores
from pipeline.repair import repair_stage
from pipeline.store import open_store
from pipeline.verify import compare_with_source, verify_store
from pipeline.workspace import exclusive
from stages import STAGES
from warmstore import show
from warmstore.options import Invocation, run_options


@click.command()
@run_options()
@click.option("--against-source", is_flag=True, help="Also recompute samples and compare bit for bit.")
@click.option(
    "--sample", "samples", multiple=True, metavar="ID", help="Recompute this sample only (repeatable)."
)
def verify(asked: Invocation, against_source: bool, samples: tuple[str, ...]) -> int:
    """Check every file of every store against its checksum.

    \b
    Example:
      warmstore verify --split val
      warmstore verify --against-source --sample receipt-00003.jpg --split val
    """
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for split in asked.splits:
        pipeline = asked.config.pipeline(split)
        results[split] = {}
        for stage in pipeline.stages:
            results[split][stage.name] = verify_store(pipeline.workspace.store_path(stage)).to_json()
        if against_source or samples:
            names = [stage.name for stage in pipeline.stages]
            for name, found in compare_with_source(pipeline, names, frozenset(samples)):
                results[split][name]["recomputed"] = found.recomputed
                results[split][name]["differs_from_source"] = found.differs
    found_any = any(
        r["damaged"] or r["differs_from_source"] for stages in results.values() for r in stages.values()
    )
    if asked.json:
        show.as_json(results)
        return int(found_any)
    columns = ("split", "stage", "files", "size", "damaged", "recomputed", "differ")
    rows = [
        (
            split,
            name,
            r["checked"],
            show.size(r["bytes"]),
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
                    f"{split} {name}: {damage['file']}{of} {damage['problem']}; run `warmstore repair`"
                )
            for difference in r["differs_from_source"][:10]:
                click.echo(f"{split} {name}: {difference['sample_id']} {difference['problem']}")
    return int(found_any)


@click.command()
@run_options()
def repair(asked: Invocation) -> int:
    """Rebuild exactly the files that are damaged or missing.

    \b
    Example:
      warmstore repair --split val
    """
    results: dict[str, dict[str, dict[str, Any]]] = {}
    with exclusive(asked.config.work_dir, "warmstore repair"), show.progress() as progress:
        for split in asked.splits:
            pipeline = asked.config.pipeline(split)
            results[split] = {}
            for stage in pipeline.stages:
                done = repair_stage(pipeline, stage, asked.config.executor, progress)
                results[split][stage.name] = vars(done)
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
    with open_store(a) as old, open_store(b) as new:
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
def gc(asked: Invocation, dry_run: bool, keep: int) -> int:
    """Remove old generations that nobody reads; never the current one.

    \b
    Example:
      warmstore gc --dry-run
      warmstore gc --keep 1
    """
    rows = []
    with exclusive(asked.config.work_dir, "warmstore gc"):
        for split in asked.splits:
            workspace = asked.config.workspace(split)
            for stage in STAGES:
                wired = getattr(asked.config.stages, stage.name)
                removed, in_use = workspace.collect(wired, keep, dry_run)
                rows.append(
                    {
                        "split": split,
                        "stage": stage.name,
                        "removed": [path.name for path in removed],
                        "in_use": [path.name for path in in_use],
                    }
                )
    if asked.json:
        show.as_json({"dry_run": dry_run, "stores": rows})
        return 0
    title = "gc (dry run: nothing is removed)" if dry_run else "gc"
    columns = ("split", "stage", "removed", "in use")
    show.table(title, columns, [(r["split"], r["stage"], len(r["removed"]), len(r["in_use"])) for r in rows])
    return 0
