"""The command that looks into a split: its stores, its annotations, its frames, its memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.errors import RUN, ConfigError, shortened
from pipeline.planning import FileHashes
from pipeline.store import Store
from warmstore import show
from warmstore.options import Invocation, run_options, writable


@click.command()
@run_options(looks=True)
@click.option("--samples", "names", is_flag=True, help="List the samples that are stored or quarantined.")
@click.option("--annotations", is_flag=True, help="Check the annotations; write native JSON to --output.")
@click.option(
    "--frames", is_flag=True, help="Audit the labels' frame; draw doubtful images to --output (PNG)."
)
@click.option("--residency", is_flag=True, help="Say how much of each store is in memory.")
@click.option("--output", type=click.Path(path_type=Path), help="A file to write.")
def inspect(
    asked: Invocation,
    names: bool,
    annotations: bool,
    frames: bool,
    residency: bool,
    output: Path | None,
) -> int:
    """Show what a split's stores hold: fields, shapes, codecs, counts, repaired polygons.

    \b
    Example:
      warmstore inspect --split val
      warmstore inspect --samples --split val
      warmstore inspect --annotations --split val --output val.json
      warmstore inspect --frames --split val --output frames.png
    """
    if names + annotations + frames + residency > 1:
        raise ConfigError(
            "inspect looks at one thing at a time: --samples, --annotations, --frames or --residency"
        )
    if output and (annotations or frames):
        writable(output, *((".png", ".jpg", ".jpeg") if frames else ()))
    if annotations:
        return _annotations(asked, output)
    if frames:
        return _frames(asked, output)
    if output:
        raise ConfigError("--output goes with --annotations or --frames")
    if names:
        return _samples(asked)
    return _residency(asked) if residency else _stores(asked)


def _stores(asked: Invocation) -> int:
    found: dict[str, dict[str, Any]] = {}
    for split in asked.splits:
        for store in asked.stores(split):
            found.setdefault(split, {})[store.stage] = {
                "path": str(store.name),
                "generation": store.generation,
                "digest": store.digest,
                "counts": store.info.counts.model_dump(),
                "tallies": store.info.tallies,
                "repairs": _repairs(store),
                "arrays": {
                    name: {
                        "dtype": array["data_type"],
                        "shape": array["shape"],
                        "codecs": [codec["name"] for codec in array["codecs"]],
                    }
                    for name, array in store.metadata["consolidated_metadata"]["metadata"].items()
                },
            }
    if asked.json:
        show.print_json(found)
        return 0
    for split, stages in found.items():
        for name, store_found in stages.items():
            rows = [
                (array, a["dtype"], "×".join(map(str, a["shape"])), " ".join(a["codecs"]))
                for array, a in store_found["arrays"].items()
            ]
            title = f"{split} {name}: {store_found['path']}, digest {store_found['digest'][:16]}"
            show.table(title, ("array", "dtype", "shape", "codecs"), rows)
            for counts in filter(None, store_found["tallies"].values()):
                click.echo(show.words(counts))
            for sample_id, repairs in list(store_found["repairs"].items())[:20]:
                click.echo(f"  {sample_id}: {repairs}")
            if len(store_found["repairs"]) > 20:
                click.echo(f"  and {len(store_found['repairs']) - 20} more samples: --json lists all")
            click.echo()
    return 0


def _samples(asked: Invocation) -> int:
    """List the samples of each split's furthest store by name: those accepted, and those refused and why."""
    found: dict[str, dict[str, Any]] = {}
    for split in asked.splits:
        stores = asked.stores(split)
        if stores:
            accepted, quarantined = list(stores[-1].sample_ids), stores[-1].info.quarantined
            found[split] = {"accepted": accepted, "quarantined": quarantined}
        else:
            click.echo(f"{split}: nothing is stored yet; {RUN.told(asked.spell)}", err=True)
    if asked.json:
        show.print_json(found)
        return 0
    for split, samples in found.items():
        for sample_id in samples["accepted"]:
            click.echo(f"{split}: {sample_id}")
        for verdict in samples["quarantined"]:
            click.echo(f"{split}: quarantined {show.verdict(verdict)}")
    return 0


def _repairs(store: Store) -> dict[str, str]:
    """List the samples whose polygons were repaired or dropped, as words `code@polygon`."""
    if "repairs" not in store.declared:
        return {}
    return {
        name: words for name, words in zip(store.sample_ids, store.small("repairs"), strict=True) if words
    }


def _annotations(asked: Invocation, output: Path | None) -> int:
    """Read a split's annotations, say all that is wrong with them, and convert them."""
    from ocr.annotations import native

    split = asked.one_split()
    source = asked.config.source(split)
    images = source.labelled
    words = sum(len(image.words) for image in images)
    problems = [str(problem) for image in images for problem in image.problems]
    unlabelled = source.unlabelled()
    if output:
        output.write_text(native.dump(images), encoding="utf-8")
    result = {
        "split": split,
        "format": source.read.format,
        "images": len(images),
        "words": words,
        "problems": problems,
        "notes": [str(note) for note in source.notes],
        "unlabelled": unlabelled,
        "written": str(output) if output else None,
    }
    if asked.json:
        show.print_json(result)
        return int(bool(problems))
    counts = (show.counted(len(images), "image"), show.counted(words, "word"))
    click.echo(f"{split}: {' and '.join(counts)} in format {result['format']}")
    for line in [*problems, *map(str, source.notes)]:
        click.echo(f"  {line}")
    if unlabelled:
        click.echo(f"  no labels for {shortened(unlabelled)}")
    if output:
        click.echo(f"  native JSON written to {output}")
    return int(bool(problems))


def _frames(asked: Invocation, output: Path | None) -> int:
    """Audit in which frame labels were drawn, for every image that is not upright in its file."""
    from ocr.splits import draw_sheet, frame_rows

    split = asked.one_split()
    config = asked.config
    hashes = FileHashes(config.workspace(split).folder / ".hashes", config.data.root)
    rows = frame_rows(config.source(split).evidence(hashes), config.data.splits[split].label_frame)
    doubtful = [row for row in rows if row.doubtful]
    if output:
        draw_sheet(rows).save(output)
    table = [
        {
            "sample_id": row.image.sample_id,
            "orientation": row.evidence.orientation,
            "fits_raw_only": row.raw_only,
            "fits_upright_only": row.upright_only,
            "frame": row.decision.frame,
            "rule": row.decision.rule,
            "told": f"{row.told.frame} ({row.told.rule})",
            "doubtful": row.doubtful,
        }
        for row in rows
    ]
    if asked.json:
        show.print_json({"split": split, "images": table, "sheet": str(output) if output else None})
        return 0
    columns = (
        "sample",
        "orientation",
        "raw only",
        "upright only",
        "frame",
        "rule",
        "the image tells",
        "doubtful",
    )
    show.table(
        f"{split}: images that are not upright in their files", columns, [tuple(r.values()) for r in table]
    )
    click.echo(f"{len(doubtful)} doubtful of {len(rows)}" + (f"; drawn in {output}" if output else ""))
    return 0


def _residency(asked: Invocation) -> int:
    """Ask the kernel how much of each store's files is in memory; nothing is read."""
    from pipeline.memory import InMemory, store_residency

    found: dict[str, dict[str, Any]] = {}
    for split in asked.splits:
        for store in asked.stores(split):
            whole = sum(store_residency(store).values(), InMemory(0, 0))
            found.setdefault(split, {})[store.stage] = {
                "path": str(store.name),
                "samples": len(store),
                "resident_bytes": whole.resident,
                "bytes": whole.bytes,
            }
    if asked.json:
        show.print_json(found)
        return 0
    rows = [
        (
            split,
            stage,
            f["samples"],
            show.size(f["resident_bytes"]),
            show.size(f["bytes"]),
            f"{f['resident_bytes'] / f['bytes']:.1%}",
        )
        for split, stages in found.items()
        for stage, f in stages.items()
    ]
    show.table("in memory", ("split", "stage", "samples", "resident", "of", "share"), rows)
    return 0
