"""The report for scripts: one JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from warmstore.report.facts import Report, spread


def as_json(report: Report) -> dict[str, Any]:
    """Give the facts as JSON values; distributions as words."""
    last = report.last
    return {
        "stores": {s: {n: p.as_json() for n, p in stages.items()} for s, stages in report.stages.items()},
        "quarantined": {split: list(verdicts) for split, verdicts in report.quarantined.items()},
        "remarks": {split: list(said) for split, said in report.remarks.items()},
        "changed": [asdict(one) for one in report.turned],
        "text": {
            split: {"regions": found.total, "fates": dict(found.fates), "lost_share": found.lost_share}
            for split, found in report.text.items()
        },
        "distributions": {
            found.name: {split: spread(values) for split, values in found.values.items()}
            for found in report.distributions
        },
        "duplicates": [[list(sample) for sample in one.samples] for one in report.twins],
        "storage": asdict(report.storage),
        "last_metric": dict(last.summary) if last else None,
        "last_metric_stale": last.stale if last else "",
        "runs": [{"name": run.name, "val": run.summary["val"], "stale": run.stale} for run in report.runs],
    }
