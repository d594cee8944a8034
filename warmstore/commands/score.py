"""The command that scores what a detector wrote into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.errors import ConfigError
from warmstore import show
from warmstore.log_lines import show_everything
from warmstore.options import Invocation, run_options


@click.command()
@run_options(words="DETECTIONS")
@click.option(
    "--format",
    "format",
    default="auto",
    show_default=True,
    help="How they are written: told by content, or a format of labels.",
)
@click.option(
    "--frame",
    default="upright",
    show_default=True,
    type=click.Choice(["upright", "raw"]),
    help="What their polygons lie in: images as a viewer shows them, or pixels as stored.",
)
def score(asked: Invocation, format: str, frame: Any) -> int:
    """Score what any detector found, written in PaddleOCR's, ICDAR's, COCO's or another format of labels.

    \b
    Example:
      warmstore score predicts.txt --config receipts --split val
    """
    show_everything()
    if len(asked.words) != 1:
        raise ConfigError("give one file or folder of detections, such as `warmstore score predicts.txt`")
    from warmstore.workflows import score_file

    split = asked.one_split()
    scored = score_file(asked.config, split, Path(asked.words[0]), format, frame)
    if asked.json:
        show.print_json({split: {**scored.as_json(), "folder": str(scored.folder)}})
        return 0
    columns = ("metric", "H-mean", "precision", "recall")
    rows = [
        (name, *(f"{rates[rate]:.4f}" for rate in ("hmean", "precision", "recall")))
        for name, rates in (("IoU", scored.score.iou), ("CLEval", scored.score.cleval))
    ]
    iou = scored.score.iou
    show.table(
        f"{asked.words[0]} on {int(iou['images'])} images of split {split}: "
        f"{int(iou['predictions'])} detections, {int(iou['targets'])} regions, "
        f"{scored.quarantined or 'none'} quarantined",
        columns,
        rows,
    )
    click.echo(f"\nthe worst images, and the score of each: {scored.folder}")
    return 0
