"""Commands that train and validate the detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.errors import Remedy
from warmstore import show
from warmstore.log_lines import show_everything
from warmstore.options import Invocation, checkpoint_option, run_options

_FIRST, _LAST = 2, 8
"""Validation epochs that the table has, however many there were."""


class _Train(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A word with = behind --resume is an override, and not the name of a run.
        for place, word in enumerate(args):
            if word == "--resume" and "=" in (*args, "=")[place + 1]:
                args[place] = "--resume="
        return super().parse_args(ctx, args)


@click.command(cls=_Train)
@run_options()
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Go on with a training that was stopped: the newest, or the one named.",
)
def train(asked: Invocation, resume: str | None) -> int:
    """Train on the stores of split `train`, and validate the best checkpoint on `val`.

    \b
    Example:
      warmstore train trainer.max_epochs=20 trainer.precision=32-true
    """
    show_everything()
    from warmstore.workflows import checked_store, resumable

    resumed = None if resume is None else resumable(asked.config.runs_dirs, resume)
    splits = ["train", *(["val"] if "val" in asked.config.data.splits else [])]
    stores = {split: checked_store(asked.config, split) for split in splits}
    from warmstore.workflows import TrainingInterrupted, train_detector

    try:
        summary = train_detector(asked.config, stores, resumed)
    except TrainingInterrupted as stop:
        again = asked.spell(Remedy("train", (f"--resume={stop.folder.name}",)))
        raise KeyboardInterrupt(f"{stop}; `{again}` goes on") from None
    _print(asked, summary, f"trained in {show.duration(summary['seconds'])}")
    return 0


@click.command()
@run_options()
@checkpoint_option
def validate(asked: Invocation, checkpoint: Path | None) -> int:
    """Compute the metric of a checkpoint, with the number of samples it stands on.

    \b
    Example:
      warmstore validate --checkpoint work/runs/20260101-120000-train/checkpoints/best.ckpt
    """
    show_everything()
    from warmstore.workflows import validation_inputs

    inputs = validation_inputs(asked.config, asked.one_split(), checkpoint)
    from warmstore.workflows import validate_detector

    summary = validate_detector(inputs)
    _print(asked, summary, "validated")
    return 0


def _print(asked: Invocation, summary: dict[str, Any], done: str) -> None:
    from warmstore.workflows import first_rank

    if not first_rank():
        return
    if asked.json:
        show.print_json(summary)
    else:
        show_summary(summary, done)


def show_summary(summary: dict[str, Any], done: str) -> None:
    """Print a run's validation epochs, the first and the last of many, and below them its metric."""
    from warmstore.report import metric_lines

    epochs = summary["epochs"]
    columns = ("epoch", "samples", "wall", "waiting for data", "forward", "hits", "misses")
    rows: list[tuple[Any, ...]] = [
        (
            row["epoch"],
            row["samples"],
            show.duration(row["wall_s"]),
            show.duration(row["data_wait_s"]),
            show.duration(row["forward_s"]),
            row["hits"],
            row["misses"],
        )
        for row in epochs
    ]
    if rows:
        left_out = len(rows) - _FIRST - _LAST
        if left_out > 0:
            rows[_FIRST:-_LAST] = [("…", *[""] * (len(columns) - 1))]
        show.table("validation epochs", columns, rows)
        if left_out > 0:
            click.echo(f"{left_out} more are in {summary['folder']}/summary.json")
        click.echo()
    for line in metric_lines(summary, done):
        click.echo(line)
