"""What trainings and validations have found, and whether that still holds for the stores that are there."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.store import open_store
from warmstore.configuration import RunConfig
from warmstore.report.facts import Point, RunFacts
from warmstore.workflows import read_summary

_CURVES = {"training": "train/loss", "validation": "val/loss"}
_HMEAN = "val/hmean"
WORST = "worst.json"


def runs_with_metric(config: RunConfig) -> list[RunFacts]:
    """Read the runs that computed a metric, the newest first; damaged files count as absent."""
    folders = sorted(
        (run for folder in config.runs_dirs for run in folder.glob("*") if run.is_dir()),
        key=lambda run: run.name,
        reverse=True,
    )
    found = ((folder, read_summary(folder)) for folder in folders)
    return [_run(config, folder, said) for folder, said in found if said.get("val") and said.get("store")]


def store_split(run: RunFacts) -> str:
    """Name the split that a metric was computed on."""
    return Path(run.summary["store"]["path"]).parent.name


def changed_settings(run: RunFacts, before: RunFacts) -> dict[str, tuple[Any, Any]]:
    """Give the settings that differ between two trainings, before and now; None where one has none."""
    if not (run.settings and before.settings):
        return {}
    keys = sorted(run.settings.keys() | before.settings.keys())
    pairs = {key: (before.settings.get(key), run.settings.get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _run(config: RunConfig, folder: Path, summary: Mapping[str, Any]) -> RunFacts:
    rows = list(_logged(folder))
    trained = dict(_curve(rows, _CURVES["training"]))
    curves = {  # without the best checkpoint's validation, which is logged as an epoch after the last
        name: [point for point in _curve(rows, key) if not trained or point[0] in trained]
        for name, key in (*_CURVES.items(), (_HMEAN, _HMEAN))
    }
    settings = _read_json(folder / "config.json", {})
    return RunFacts(
        name=folder.name,
        summary=summary,
        stale="; ".join(_stale(config, summary, settings)),
        losses={name: points for name in _CURVES if (points := curves[name])},
        hmeans=curves[_HMEAN],
        settings=settings,
        worst=_read_json(folder / WORST, []),
    )


def _stale(config: RunConfig, summary: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    """Say of each store that the metric stands on whether another one is there now."""
    used = summary["store"]
    path = Path(used["path"])
    if now := _digest(config, path.parent.name, path):
        if now != used["digest"]:
            yield f"{path} has changed since: digest {used['digest'][:16]} then, {now[:16]} now"
    else:
        yield f"{path} is no longer there"
    trained = settings.get("stores.train")
    now = _digest(config, "train", None) if trained else None
    if trained and now and now != trained:
        yield f"split train has changed since it was trained on: digest {trained[:16]} then, {now[:16]} now"


def _digest(config: RunConfig, split: str, otherwise: Path | None) -> str | None:
    """Give the digest of a split's tensors as they are now; None where there are none that can be read."""
    known = split in config.data.splits
    path = config.workspace(split).generations(config.stages.tensors).path if known else otherwise
    with suppress(PipelineError):
        if path is not None and path.exists():
            with open_store(path) as store:
                return store.digest
    return None


def _logged(folder: Path) -> Iterator[Mapping[str, str]]:
    """Give the rows of a run's logs in order: a training that went on has several files of them."""
    for path in sorted(folder.glob("csv*/metrics.csv"), key=lambda path: (len(path.parts[-2]), path)):
        with suppress(OSError, ValueError, csv.Error), path.open(newline="") as file:
            yield from csv.DictReader(file)


def _curve(rows: list[Mapping[str, str]], key: str) -> list[Point]:
    """Give the finite values of a log by epoch; the last one counts where an epoch was computed again."""
    found: dict[float, float] = {}
    for row in rows:
        with suppress(KeyError, ValueError, TypeError):
            found[float(row["epoch"])] = float(row[key])
    return sorted((epoch, value) for epoch, value in found.items() if isfinite(epoch) and isfinite(value))


def _read_json(path: Path, otherwise: Any) -> Any:
    """Read a JSON file of the kind of `otherwise`, which it gives where there is none."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, type(otherwise)):
            return found
    return otherwise
