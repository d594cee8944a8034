"""The command that measures whole validation epochs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from warmstore import show
from warmstore.options import Invocation, checkpoint_option, run_options

if TYPE_CHECKING:
    from warmstore.workflows import EpochMeasurement


@click.group()
def bench() -> None:
    """Measure on your data.

    \b
    Example:
      warmstore bench epoch --config receipts
    """


@bench.command()
@run_options()
@checkpoint_option
@click.option("--epochs", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--samples", type=click.IntRange(min=1), help="The first so many; all otherwise.")
@click.option(
    "--workers",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Processes that compute online samples.",
)
def epoch(asked: Invocation, checkpoint: Path | None, epochs: int, samples: int | None, workers: int) -> int:
    """Run whole validation epochs on every rung; exit code 1 where their metrics differ.

    \b
    Example:
      warmstore bench epoch --checkpoint work/runs/20260101-120000-train/checkpoints/best.ckpt
    """
    from warmstore.workflows import validation_inputs

    split = asked.one_split()
    asked.config.source(split)  # which all rungs but the last read
    inputs = validation_inputs(asked.config, split, checkpoint)
    from warmstore.workflows import epoch_job, measure_ladder, same_metrics

    job = epoch_job(inputs, epochs=epochs, limit=samples, workers=workers)
    measured = []
    for one in measure_ladder(job):
        measured.append(one)
        click.echo(f"{one.rung}, epoch {one.epoch}: {show.duration(one.seconds)}", err=True)
    same = same_metrics(measured)
    if asked.json:
        show.print_json({"epochs": [one.as_json() for one in measured], "same_metrics": same})
        return 0 if all(same.values()) else 1
    _print_epochs(measured, inputs.judged)
    for precision, equal in same.items():
        click.echo(f"{precision}: the metrics are {'the same' if equal else 'NOT the same'} on every rung")
    click.echo(_goal(measured))
    return 0 if all(same.values()) else 1


def _print_epochs(measured: list[EpochMeasurement], checkpoint: str) -> None:
    first = {one.epoch: one.seconds for one in measured if one.rung == measured[0].rung}
    columns = (
        "rung",
        "precision",
        "epoch",
        "time",
        "speed-up",
        "samples",
        "waiting",
        "forward",
        "rest",
        "H-mean",
        "CLEval",
        "opened in",
    )
    rows = [
        (
            one.rung,
            one.precision,
            one.epoch,
            show.duration(one.seconds),
            f"{first[one.epoch] / one.seconds:.2f} ×",
            f"{one.profile['samples_per_s']:.1f}/s",
            f"{one.profile['data_wait_s'] / one.seconds:.1%}",
            f"{one.profile['forward_s'] / one.seconds:.1%}",
            f"{one.beside_forward - one.profile['data_wait_s'] / one.seconds:.1%}",
            f"{one.metrics['hmean']:.4f}",
            f"{one.metrics['cleval_hmean']:.4f}",
            show.duration(one.opened_s),
        )
        for one in measured
    ]
    show.table(f"validating {measured[0].profile['samples']} samples with {checkpoint}", columns, rows)
    click.echo()


def _goal(measured: list[EpochMeasurement]) -> str:
    """Say how far the store's epochs are from the goal for this machine."""
    import torch

    from warmstore.workflows import CPU_GOAL, GPU_GOAL

    first = {one.epoch: one.seconds for one in measured if one.rung == measured[0].rung}
    store = [one for one in measured if one.rung == measured[-1].rung]
    if torch.cuda.is_available():
        least = min(first[one.epoch] / one.seconds for one in store)
        reached = "reached" if least >= GPU_GOAL else "not reached"
        return (
            f"the store's slowest epoch is {least:.1f} × as fast as the baseline's; {GPU_GOAL:g} × {reached}"
        )
    most = max(one.beside_forward for one in store)
    reached = "reached" if most <= CPU_GOAL else "not reached"
    return (
        f"at most {most:.1%} of an epoch from the store is not the forward pass; {CPU_GOAL:.0%} {reached} "
        "(there is no GPU here)"
    )
