"""Commands that make things: the synthetic data set, and the stages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from pipeline.errors import ConfigError, PipelineError, Remedy, shortened
from pipeline.execution import MACHINE_CODES, Executor
from pipeline.files import checksum
from pipeline.maintenance import RETRY, contested_verdicts, peak_bytes, remember_rate
from pipeline.planning import Source
from pipeline.runner import StageResult, run_stages
from pipeline.workspace import exclusive
from warmstore import show
from warmstore.configuration import COMMAND_LINE, RunConfig
from warmstore.forecast import Predicted, compared
from warmstore.log_lines import show_warnings
from warmstore.options import Invocation, run_options
from warmstore.remarks import remarks
from warmstore.workflows import new_run

_SHOWN = 5
"""Refused samples that a run names."""
_ALL = Remedy("status", otherwise=" to list all")
_STAMP = ".generated.json"
"""In the root of the synthetic receipts: what they were drawn with, and whether that came to its end."""


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
    names = _stage_names(asked)
    _draw_missing(asked)
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
    for split, source in sources.items():
        for remark in remarks(asked.config, split, source):
            click.echo(f"{split}: {remark}", err=True)
    spelled = {split: {n: r.to_json() for n, r in stages.items()} for split, stages in results.items()}
    for split, stages in predictions.items():
        for name, predicted in stages.items():
            spelled[split][name]["predicted"] = predicted._asdict()
    _write_results(asked, spelled)
    if asked.json:
        show.as_json(spelled)
    else:
        _print(asked, results, predictions)
    quarantined = sum(max((r.quarantined for r in stages.values()), default=0) for stages in results.values())
    if strict and quarantined:
        raise PipelineError(
            f"{quarantined} samples are quarantined, which --strict forbids",
            Remedy("status", otherwise=" to list them"),
        )
    return 0


@click.command()
@run_options()
@click.option("--train", type=click.IntRange(min=0), help="Number of training images.")
@click.option("--val", type=click.IntRange(min=0), help="Number of validation images.")
def data(asked: Invocation, train: int | None, val: int | None) -> int:
    """Draw the embedded synthetic receipts; does nothing where they are drawn already.

    Other numbers draw them anew, unless some of the files were changed meanwhile.

    \b
    Example:
      warmstore data --train 200 --val 50
    """
    if asked.config.data.generate is None:
        raise ConfigError(
            f"run {asked.composed.name} has its own data set at {asked.config.data.root}: nothing to draw"
        )
    counts = draw_receipts(asked.config, train, val)
    result = {"root": str(asked.config.data.root), **counts}
    if asked.json:
        show.as_json(result)
    else:
        click.echo(f"{counts['train']} training and {counts['val']} validation receipts in {result['root']}")
    return 0


def draw_receipts(config: RunConfig, train: int | None = None, val: int | None = None) -> dict[str, int]:
    """Draw the receipts that the configuration asks for, unless they are there; gives their numbers.

    Raises ConfigError where drawing would replace files that it has not drawn, or that were changed since.
    """
    from ocr.synthetic import generate

    wanted, root = config.data.generate, config.data.root
    assert wanted is not None
    counts = {"train": wanted.train if train is None else train, "val": wanted.val if val is None else val}
    stamp, drawn = root / _STAMP, {**wanted.model_dump(mode="json"), **counts}
    if not stamp.is_file() and root.is_dir() and any(root.iterdir()):
        raise ConfigError(
            f"{root} holds files that were not drawn by `warmstore data`, and some could be replaced; "
            "set data.root=… to a new or an empty folder"
        )
    known = json.loads(stamp.read_text()) if stamp.is_file() else {}
    files = known.pop("files", None)
    if known != drawn:
        changed = _changed(root, files) if files is not None else []
        if changed:
            raise ConfigError(
                f"{shortened(changed)} in {root} changed since they were drawn, and drawing others would"
                " replace them; move them elsewhere, or set data.root=… to a new folder"
            )
        root.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps({**drawn, "unfinished": True}))
        with show.progress() as progress:
            bars = {split: progress.begin(split, "receipts", count) for split, count in counts.items()}
            generate(
                root, **counts, seed=wanted.seed, size=wanted.size, report=lambda split, _: bars[split](1)
            )
        stamp.write_text(json.dumps({**drawn, "files": _drawn(root)}))
    return counts


def _drawn(root: Path) -> dict[str, str]:
    """Give the checksums of the files that drawing replaces, by their paths below `root`."""
    patterns = [f"{split}{rest}" for split in ("train", "val") for rest in (".json", "/receipt-*.jpg")]
    paths = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    return {path.relative_to(root).as_posix(): checksum(path)[1] for path in paths}


def _changed(root: Path, files: Mapping[str, str]) -> list[str]:
    """Name the files that drawing would replace and that are not as they were drawn."""
    return [name for name, found in _drawn(root).items() if files.get(name) != found]


def _draw_missing(asked: Invocation) -> None:
    """Draw the embedded receipts where no data set is configured; a root that a user typed is the user's.

    What was interrupted is drawn as it was asked for then.
    """
    root, own_root = asked.config.data.root, asked.composed.origin("data.root") == COMMAND_LINE
    if asked.config.data.generate is None or own_root:
        return
    stamp = root / _STAMP
    begun = json.loads(stamp.read_text()) if stamp.is_file() else {}
    if begun.get("unfinished") or not root.exists():
        draw_receipts(asked.config, begun.get("train"), begun.get("val"))


def _stage_names(asked: Invocation) -> tuple[str, ...]:
    known = [stage.name for stage in asked.config.stages.in_order()]
    for word in asked.words:
        if word not in known:
            raise ConfigError(f"there is no stage {word}; there are {', '.join(known)}")
    return asked.words or tuple(known)


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
    last = next(stage for stage in asked.config.stages.in_order() if stage.name == names[-1])
    store = asked.config.workspace(split).generations(last).open()
    verdicts = store.info.quarantined if store is not None else ()
    for verdict in verdicts[:_SHOWN]:
        click.echo(f"{split}: quarantined {show.verdict(verdict)}")
    if len(verdicts) > _SHOWN:
        click.echo(f"{split}: and {len(verdicts) - _SHOWN} more; {_ALL.told(asked.spell)}")
    if any(verdict["code"] in MACHINE_CODES for verdict in verdicts):
        click.echo(f"{split}: some were refused by what happened here; {RETRY.told(asked.spell)}")
    for name in names:
        _print_contested(asked, split, name)


def _print_contested(asked: Invocation, split: str, name: str) -> None:
    """Tell of verdicts that other runs over the same inputs did not give."""
    stage = next(stage for stage in asked.config.stages.in_order() if stage.name == name)
    store = asked.config.workspace(split).generations(stage).open()
    for contested in contested_verdicts(store)[:_SHOWN] if store is not None else ():
        click.echo(f"{split} {name}: {contested}; {RETRY.told(asked.spell)}")
