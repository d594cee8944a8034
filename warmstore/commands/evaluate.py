"""Commands that look at what a detector can reach: precision and ceiling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.errors import ConfigError
from pipeline.store import open_store
from warmstore import show
from warmstore.options import Invocation, checkpoint_option, run_options


@click.command()
@run_options()
@checkpoint_option
@click.option(
    "--tolerance",
    default=0.002,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How far H-mean or CLEval may move from float32's.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["bf16-mixed", "16-mixed"]),
    help="A precision to hold beside float32 (repeatable); bf16-mixed, and 16-mixed on a GPU, otherwise.",
)
def precision(
    asked: Invocation, checkpoint: Path | None, tolerance: float, precisions: tuple[Any, ...]
) -> int:
    """Evaluate one checkpoint in several precisions; exit code 1 where one may not stand in for float32.

    It may not where the metric moves, a tenth of the boxes change, a map holds NaN, or nothing is found.

    \b
    Example:
      warmstore precision --checkpoint work/runs/20260101-120000-train/checkpoints/best.ckpt
    """
    from warmstore.workflows import validation_inputs

    inputs = validation_inputs(asked.config, asked.one_split(), checkpoint)
    from warmstore.workflows import measure_precisions

    wanted = ("32-true", *precisions) if precisions else ()
    measured, made_of = measure_precisions(inputs, wanted)
    reference = measured[0]
    objections = {found.precision: found.objection(reference, tolerance) for found in measured}
    passed = not any(objections.values())
    if asked.json:
        found_by_name = {
            found.precision: {
                **found.as_json(),
                "moved": None if found.failed or reference.failed else found.moved(reference),
                "objection": objections[found.precision],
            }
            for found in measured
        }
        show.print_json({"precisions": found_by_name, "tolerance": tolerance, "passed": passed, **made_of})
        return 0 if passed else 1
    columns = ("precision", "H-mean", "CLEval", "moved", "largest difference", "boxes", "changed", "forward")
    rows = [
        (
            found.precision,
            f"{found.iou['hmean']:.4f}",
            f"{found.cleval['hmean']:.4f}",
            "failed" if found.failed else f"{found.moved(reference):.4f}",
            f"{found.largest_difference:.4f}",
            found.boxes,
            found.boxes_changed,
            f"{show.duration(found.seconds)} ({1000 * found.seconds / max(found.samples, 1):.1f} ms/sample)",
        )
        for found in measured
    ]
    show.table(
        f"{reference.samples} samples of {made_of['store']} on {made_of['device']}; {made_of['checkpoint']}",
        columns,
        rows,
    )
    click.echo(f"\n{'passed' if passed else 'failed'}: the metric may move by {tolerance:g}")
    for name, objection in objections.items():
        if objection:
            click.echo(f"{name}: {objection}")
    return 0 if passed else 1


@click.command()
@run_options()
@click.option(
    "--canvas",
    "canvases",
    default="640,800,1024,1280",
    show_default=True,
    help="Canvases, by comma: one number for a square, or HEIGHTxWIDTH.",
)
def ceiling(asked: Invocation, canvases: str) -> int:
    """Tell before training what any detector could reach on a canvas, and what is lost to what.

    The ground truth's own maps go through box decoding. H-mean is at an IoU of 0.5, and beside it at 0.7
    and 0.9.

    \b
    Example:
      warmstore ceiling --canvas 640,800,1024x768 stages.maps.min_text_size=3
    """
    sizes = [_canvas(text) for text in canvases.split(",")]
    split = asked.one_split()
    store = open_store(asked.config.workspace(split).generations(asked.config.stages.canonicalize).path)
    from warmstore.workflows import find_ceilings

    found = find_ceilings(asked.config, store, sizes)
    if asked.json:
        show.print_json({split: [one.as_json() for one in found]})
        return 0
    columns = (
        "canvas",
        "H-mean",
        "precision",
        "recall",
        "CLEval",
        "@0.7",
        "@0.9",
        "MB/image",
        "maps",
        "boxes",
    )
    rows = [
        (
            _name(one.canvas),
            *(f"{one.iou[name]:.4f}" for name in ("hmean", "precision", "recall")),
            f"{one.cleval['hmean']:.4f}",
            *(f"{one.iou[name]:.4f}" for name in ("hmean@0.7", "hmean@0.9")),
            f"{one.bytes_per_image / 1e6:.1f}",
            f"{one.maps_ms:.1f} ms",
            f"{one.boxes_ms:.1f} ms",
        )
        for one in found
    ]
    show.table(
        f"the ceiling of split {split}: {found[0].images} images, {found[0].regions} regions", columns, rows
    )
    click.echo()
    losses = [
        (reason.value, *(f"{one.lost[reason]} ({one.lost[reason] / one.regions:.1%})" for one in found))
        for reason in found[0].lost
    ]
    show.table("regions lost, by reason", ("reason", *(_name(one.canvas) for one in found)), losses)
    return 0


def _canvas(text: str) -> tuple[int, int]:
    sides = text.strip().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f"{text!r} is no canvas; write --canvas 640,800 or --canvas 1024x768")
    return int(sides[0]), int(sides[-1])


def _name(canvas: tuple[int, int]) -> str:
    return f"{canvas[0]} × {canvas[1]}"
