"""The command that runs the stages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from pipeline.errors import PipelineError, Remedy
from pipeline.execution import MACHINE_CODES, Executor
from pipeline.maintenance import RETRY, contested_verdicts, peak_bytes, remember_rate
from pipeline.planning import Source
from pipeline.runner import StageResult, run_stages
from pipeline.workspace import exclusive
from warmstore import show
from warmstore.commands.data import draw_missing
from warmstore.forecast import Predicted, compared
from warmstore.log_lines import show_warnings
from warmstore.options import Invocation, run_options
from warmstore.remarks import remarks, together
from warmstore.workflows import new_run

_SHOWN = 5
"""Refused samples that a run names."""
_ALL = Remedy("status", rest=" to list all")


@click.command()
@run_options(words="STAGE")
@click.option("--strict", is_flag=True, help="Fail when any sample is quarantined.")
@click.option("--rehash", is_flag=True, help="Hash every file again, whatever its time stamps say.")
@click.option("--retry", is_flag=True, help="Compute samples again that were quarantined before.")
def run(asked: Invocation, strict: bool, rehash: bool, retry: bool) -> int:
    """Bring stages up to date: all of them, or those that are named.

    \b
    Example:
      warmstore run
      warmstore run maps tensors --split val stages.maps.shrink_ratio=0.5
    """
    show_warnings()
    names = tuple(stage.name for stage in asked.config.stages.named(asked.words))
    draw_missing(asked)
    results: dict[str, dict[str, StageResult]] = {}
    sources: dict[str, Source] = {}
    predictions: dict[str, dict[str, Predicted]] = {}
    with (
        exclusive(asked.config.work_dir, "warmstore run"),
        show.progress() as progress,
        Executor(asked.config.executor) as executor,
    ):
        for split in asked.splits:
            pipeline = asked.config.pipeline(split, rehash=rehash, retry=retry)
            results[split] = {}
            for name, result in run_stages(pipeline, names, executor, progress):
                results[split][name] = result
                remember_rate(asked.config.work_dir, name, result)
            sources[split] = pipeline.source
            predictions[split] = compared(pipeline, results[split])
    told = {split: remarks(asked.config, split, source) for split, source in sources.items()}
    for of, remark in together(told):
        click.echo(f"{of}: {remark}", err=True)
    spelled = {split: {n: r.as_json() for n, r in stages.items()} for split, stages in results.items()}
    for split, stages in predictions.items():
        for name, predicted in stages.items():
            spelled[split][name]["predicted"] = predicted._asdict()
    _write_results(asked, spelled)
    if asked.json:
        show.print_json(spelled)
    else:
        _print(asked, results, predictions)
    quarantined = sum(max((r.quarantined for r in stages.values()), default=0) for stages in results.values())
    if strict and quarantined:
        raise PipelineError(
            f"{quarantined} samples are quarantined, which --strict forbids",
            Remedy("status", rest=" to list them"),
        )
    return 0


def _write_results(asked: Invocation, spelled: dict[str, Any]) -> None:
    folder = new_run(asked.config.runs_dirs[0], "run")
    with suppress(OSError):  # a full disk must not fail a run that has published
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stages.json").write_text(json.dumps(spelled, indent=1))


def _print(
    asked: Invocation,
    results: Mapping[str, Mapping[str, StageResult]],
    predictions: Mapping[str, Mapping[str, Predicted]],
) -> None:
    """Print the summary, and what was refused above it, where it does not push the summary away."""
    for split, stages in results.items():
        if any(result.quarantined for result in stages.values()):
            _print_refused(asked, split, list(stages))
    columns = (
        "split",
        "stage",
        "samples",
        "accepted",
        "quarantined",
        "computed",
        "reused",
        "time",
        "size",
        "ms/sample",
    )
    rows = [
        (
            split,
            name,
            r.samples,
            r.accepted,
            r.quarantined,
            r.computed,
            r.reused,
            show.duration(r.seconds),
            show.size(r.bytes),
            f"{1000 * r.seconds / r.computed:.1f}" if r.computed else "-",
        )
        for split, stages in results.items()
        for name, r in stages.items()
    ]
    least = ("ms/sample", "size", "reused", "accepted", "time")
    show.table(f"{asked.composed.name} in {asked.config.work_dir}", columns, rows, least)
    show.executors({split: {n: r.executor for n, r in stages.items()} for split, stages in results.items()})
    for split, predicted in predictions.items():
        _print_predicted(split, results[split], predicted)


def _print_predicted(
    split: str, results: Mapping[str, StageResult], predictions: Mapping[str, Predicted]
) -> None:
    """Put what `plan --samples` predicted beside what a run took."""
    if not predictions:
        return
    rows = [
        (
            name,
            show.duration(results[name].seconds),
            show.duration(predicted.seconds),
            show.size(results[name].bytes),
            show.size(predicted.bytes),
        )
        for name, predicted in predictions.items()
    ]
    show.table(f"{split}, as predicted", ("stage", "time", "predicted", "size", "predicted "), rows)
    most = max(predicted.memory for predicted in predictions.values())
    click.echo(f"{split}: memory {show.size(peak_bytes())}, and {show.size(most)} were predicted")


def _print_refused(asked: Invocation, split: str, names: Sequence[str]) -> None:
    """Tell what was refused, and of verdicts that other runs over the same inputs did not give."""
    workspace = asked.config.workspace(split)
    stores = {one.name: workspace.generations(one).open() for one in asked.config.stages.named(names)}
    store = stores[names[-1]]
    verdicts = store.info.quarantined if store is not None else ()
    for verdict in verdicts[:_SHOWN]:
        click.echo(f"{split}: quarantined {show.verdict(verdict)}")
    if len(verdicts) > _SHOWN:
        click.echo(f"{split}: and {len(verdicts) - _SHOWN} more; {_ALL.told(asked.spell)}")
    if any(verdict["code"] in MACHINE_CODES for verdict in verdicts):
        click.echo(f"{split}: some were refused by what happened here; {RETRY.told(asked.spell)}")
    for name, store in stores.items():
        for contested in contested_verdicts(store)[:_SHOWN] if store is not None else ():
            click.echo(f"{split} {name}: {contested}; {RETRY.told(asked.spell)}")
