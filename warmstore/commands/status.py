"""Commands that only look: what would run, what is stored, why it is stale, what is configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from pipeline.errors import REPAIR, ConfigError, UnknownSampleError
from pipeline.execution import Choice, Executor
from pipeline.maintenance import Preview, preview, preview_stored
from pipeline.planning import Pipeline
from warmstore import show
from warmstore.forecast import forecast
from warmstore.options import Invocation, refuse_mistyped, run_options
from warmstore.remarks import remarks, together


@click.command()
@run_options()
@click.option("--rehash", is_flag=True, help="Hash every file again, whatever its time stamps say.")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="Predict what building so many takes, from a few that are computed aside.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Predict it for so many workers.")
def plan(asked: Invocation, rehash: bool, samples: int | None, workers: int | None) -> int:
    """Say what `warmstore run` would do, and change nothing.

    \b
    Example:
      warmstore plan --split val stages.maps.shrink_ratio=0.5
      warmstore plan --samples 1000000 --workers 64
    """
    if samples is not None or workers is not None:
        return _predict(asked, samples, workers)
    refuse_mistyped(asked)
    found = {split: _preview(asked, asked.config.pipeline(split, rehash=rehash)) for split in asked.splits}
    choices = _choices(asked, found)
    if asked.json:
        show.print_json(
            {
                split: {
                    n: {**p.as_json(), "executor": _spelled(choices[split][n])} for n, p in stages.items()
                }
                for split, stages in found.items()
            }
        )
        return 0
    columns, least = ("split", "stage", "to compute", "of", "size", "time", "why"), ("of", "size", "time")
    rows = [
        (
            split,
            name,
            p.compute if p.certain == p.compute else f"at most {p.compute}",
            p.listed,
            show.size(p.predicted_bytes),
            show.duration(p.predicted_seconds),
            "; ".join(p.why) or "up to date",
        )
        for split, stages in found.items()
        for name, p in stages.items()
    ]
    show.table(f"plan of {asked.composed.name} in {asked.config.work_dir}", columns, rows, least)
    show.executors(choices)
    return 0


def _predict(asked: Invocation, samples: int | None, workers: int | None) -> int:
    """Print what building all stages takes, and what of it does not get better with workers."""
    found = [forecast(asked.config, split, samples, workers) for split in asked.splits]
    if asked.json:
        show.print_json({one.split: one.as_json() for one in found})
        return 0
    columns = ("split", "stage", "samples", "workers", "files", "size", "time")
    for one in found:
        stages = [(stage, one.probe.stages[stage.name]) for stage in one.stages]
        rows = [
            (
                one.split,
                stage.name,
                one.samples,
                one.workers,
                one.files(stage),
                show.size(probed.size(one.samples)),
                show.duration(probed.seconds(one.samples, one.workers)),
            )
            for stage, probed in stages
        ]
        all_files = sum(one.files(stage) for stage, _ in stages)
        total = ("", "all", "", "", all_files, show.size(one.size), show.duration(one.seconds))
        show.table(f"prediction of {asked.composed.name}, from a probe", columns, [*rows, total])
        for limit in one.limits():
            click.echo(f"{one.split}: {limit}")
    return 0


@click.command()
@run_options(looks=True)
@click.option("--rehash", is_flag=True, help="Hash every file again, whatever its time stamps say.")
def status(asked: Invocation, rehash: bool) -> int:
    """Show every store: generation, samples, size, age, whether it is fresh, and why not.

    Without the data set it shows what is stored, and cannot tell whether that is fresh.

    \b
    Example:
      warmstore status --json
    """
    found, told = looked_at(asked, rehash)
    if asked.json:
        show.print_json({s: {n: p.as_json() for n, p in stages.items()} for s, stages in found.items()})
        return 0
    columns = (
        "split",
        "stage",
        "generation",
        "samples",
        "accepted",
        "quarantined",
        "size",
        "age",
        "state",
        "counts",
    )
    rows = [
        (
            split,
            name,
            p.generation or "-",
            p.samples,
            p.accepted,
            p.quarantined,
            show.size(p.bytes),
            show.duration(p.age_seconds),
            f"{p.state}: {'; '.join(p.why)}" if p.why and p.state != "unknown" else p.state,
            "; ".join(show.words(counts) for counts in p.tallies.values() if counts),
        )
        for split, stages in found.items()
        for name, p in stages.items()
    ]
    for split in found:
        for verdict in [v for store in asked.stores(split, told=True)[-1:] for v in store.info.quarantined]:
            click.echo(f"{split}: quarantined {show.verdict(verdict)}")
    for of, remark in together(told):
        click.echo(f"{of}: {remark}")
    least = ("counts", "generation", "age", "size", "samples", "accepted")
    show.table(f"{asked.composed.name} in {asked.config.work_dir}", columns, rows, least)
    return 0


@click.command()
@run_options(words="SAMPLE", looks=True)
def explain(asked: Invocation) -> int:
    """Say what changed of one sample, in words and files, and which stages compute it again.

    \b
    Example:
      warmstore explain receipt-00003.jpg --split val
    """
    if len(asked.words) != 1:
        raise ConfigError(
            "explain wants one sample, for instance `warmstore explain receipt-00003.jpg --split val`"
        )
    from warmstore.explaining import explained

    found: dict[str, tuple[dict[str, dict[str, Any]], str]] = {}
    unknown: list[UnknownSampleError] = []
    for split in asked.splits:
        try:
            found[split] = explained(asked.config.pipeline(split), asked.words[0])
        except UnknownSampleError as error:
            unknown.append(error)
    if not found:
        known = {name for error in unknown for name in error.known}
        raise UnknownSampleError(
            f"split {' or '.join(asked.splits)} of {asked.composed.name}", asked.words[0], sorted(known)
        )
    if asked.json:
        show.print_json({split: stages for split, (stages, _) in found.items()})
        return 0
    for split, (stages, sentence) in found.items():
        click.echo(f"{split} {asked.words[0]}: {sentence}")
        for name, stage in stages.items():
            spared = stage["state"] == "stale" and not stage["computed_again"]
            show.state(f"  {name}", "fresh" if spared else stage["state"])
            for reason in () if spared else stage["why"]:
                click.echo(f"    {reason.partition(': ')[2] or reason}")
    return 0


@click.command()
@run_options()
def config(asked: Invocation) -> int:
    """Print what a run resolves to, and where each value came from.

    \b
    Example:
      warmstore config --config receipts canvas=1024
    """
    resolved = asked.config.model_dump(mode="json")
    if asked.json:
        show.print_json(resolved)
        return 0
    rows = [(key, value, asked.composed.origin(key)) for key, value in _flatten(resolved)]
    show.table(f"run {asked.composed.name}", ("key", "value", "set by"), rows)
    return 0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
def doctor(as_json: bool, debug: bool) -> int:
    """Say what this machine offers: libraries that decide bytes, memory, limits, the device.

    \b
    Example:
      warmstore doctor
    """
    from warmstore.machine import examine

    found = examine()
    if as_json:
        show.print_json(found)
    else:
        show.table("doctor", ("what", "found"), list(found.items()))
    return 0


def looked_at(
    asked: Invocation, rehash: bool = False
) -> tuple[dict[str, dict[str, Preview]], dict[str, list[str]]]:
    """Look at all splits: previews by split and stage, and remarks by split.

    Where the data set is not there, at what is stored of them. Raises ConfigError where nothing is.
    """
    config, found, told = asked.config, dict[str, dict[str, Preview]](), dict[str, list[str]]()
    stages, spaces = config.stages.in_order(), {split: config.workspace(split) for split in asked.splits}
    stored = any(space.generations(one).path.exists() for space in spaces.values() for one in stages)
    for split, workspace in spaces.items():
        try:
            pipeline = config.pipeline(split, rehash=rehash)
        except ConfigError as error:
            if config.data.root.is_dir() or not stored:
                raise
            why, error.spell = f"there is no data set at {config.data.root}", asked.spell
            found[split], told[split] = dict(preview_stored(workspace, stages, why)), [str(error)]
        else:
            found[split] = _preview(asked, pipeline)
            told[split] = remarks(config, split, pipeline.source)
    return found, told


def _preview(asked: Invocation, pipeline: Pipeline) -> dict[str, Preview]:
    return {name: _with_remedy(asked, found) for name, found in preview(pipeline)}


def _choices(
    asked: Invocation, found: Mapping[str, Mapping[str, Preview]]
) -> dict[str, dict[str, Choice | None]]:
    """Give what a run would compute each stage on; None where it computes nothing."""
    executor = Executor(asked.config.executor)
    stages = {stage.name: stage for stage in asked.config.stages.in_order()}
    return {
        split: {n: executor.choose(stages[n], p.compute) if p.compute else None for n, p in previews.items()}
        for split, previews in found.items()
    }


def _spelled(choice: Choice | None) -> dict[str, Any] | None:
    return None if choice is None else choice.as_json()


def _with_remedy(asked: Invocation, found: Preview) -> Preview:
    """Say of what is damaged what mends it; what is stale is healed by a run."""
    if found.state != "damaged":
        return found
    return replace(found, why=[f"{'; '.join(found.why)}; {REPAIR.told(asked.spell)}"])


def _flatten(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(values, dict) and values:
        return [
            row
            for key, value in values.items()
            for row in _flatten(value, f"{prefix}.{key}" if prefix else key)
        ]
    return [(prefix, values)]
