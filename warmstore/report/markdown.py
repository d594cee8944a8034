"""The report for a terminal, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from warmstore import show
from warmstore.remarks import together
from warmstore.report.facts import Report, spread
from warmstore.report.trainings import changed_settings

_MOST = 20


def render_markdown(report: Report) -> str:
    """Write the report for people who read it in a terminal."""
    parts = [f"# warmstore: {report.name}", *_stages(report), *_quarantined(report)]
    if told := [f"- {of}: {remark}" for of, remark in together(report.remarks)]:
        parts += ["## Remarks", "\n".join(told)]
    parts += [*_labels(report), *_duplicates(report), *_metric(report)]
    storage = report.storage
    parts += [
        "## Storage",
        f"Old generations {show.size(storage.old_generations)}, runs {show.size(storage.runs)}, "
        f"free {show.size(storage.free)}.",
    ]
    return "\n\n".join(parts)


def metric_lines(summary: Mapping[str, Any], done: str) -> list[str]:
    """Write a metric for people: never without the samples that it stands on."""
    found, store = summary["val"], summary["store"]
    used = f"{done} in {summary.get('val_precision', summary['precision'])}"
    ends = [
        f"  checkpoint: {summary['checkpoint'] or 'none was kept'}",
        f"  everything of this run: {summary['folder']}",
    ]
    if not found:
        return [f"{used}; nothing was validated", *ends]
    quarantined = f"{found['quarantined'] or 'none'} quarantined"
    cleval = f"; CLEval {summary['cleval']['hmean']:.4f}" if "cleval" in summary else ""
    return [
        f"{used}: H-mean {found['hmean']:.4f} "
        f"(precision {found['precision']:.4f}, recall {found['recall']:.4f}){cleval}",
        f"  on {found['samples']} samples, {quarantined}; {store['path']}, digest {store['digest'][:16]}",
        *ends,
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write a table; the first two columns stand left, the last too."""
    rules = ["---", "---", *["---:"] * (len(columns) - 3), "---"]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (columns, rules, *rows))


def _stages(report: Report) -> Iterator[str]:
    rows = [
        (
            split,
            stage,
            found.samples,
            found.accepted,
            found.quarantined,
            show.size(found.bytes),
            f"{found.state}: {'; '.join(found.why)}" if found.why else found.state,
        )
        for split, stages in report.stages.items()
        for stage, found in stages.items()
    ]
    yield _table(("split", "stage", "samples", "accepted", "quarantined", "size", "state"), rows)


def _quarantined(report: Report) -> Iterator[str]:
    rows = [
        f"- {split} {show.verdict(v)}" for split, verdicts in report.quarantined.items() for v in verdicts
    ]
    yield "## Quarantined"
    yield "\n".join(rows) or "None."


def _labels(report: Report) -> Iterator[str]:
    if not report.distributions:
        return
    yield "## Labels and images"
    rows = [
        f"- {found.name} ({found.unit}), {split}: {spread(values)}"
        for found in report.distributions
        for split, values in found.values.items()
    ]
    rows += [
        f"- {split}: the maps lose {text.lost} of {text.used} regions ({text.lost_share:.1%}) on a canvas of "
        f"{report.canvas[0]} × {report.canvas[1]}"
        for split, text in report.text.items()
    ]
    repaired = [one for one in report.turned if one.repairs]
    rows += [f"- {one.split} {one.sample_id}: {one.repairs}" for one in repaired[:_MOST]]
    rows += [f"- and {len(repaired) - _MOST} more with repaired labels"] if len(repaired) > _MOST else []
    turned = sum(one.orientation != 1 for one in report.turned)
    yield "\n".join([*rows, f"- images turned upright: {turned}"])


def _duplicates(report: Report) -> Iterator[str]:
    if report.twins:
        rows = [", ".join(map(" ".join, one.samples)) for one in report.twins[:_MOST]]
        more = [f"and {len(report.twins) - _MOST} more"] if len(report.twins) > _MOST else []
        yield "## Duplicates"
        yield "\n".join(f"- {row}" for row in (*rows, *more))


def _metric(report: Report) -> Iterator[str]:
    yield "## Last metric"
    last, before = report.last, report.before
    if last is None:
        yield "No training or validation yet."
        return
    lines = metric_lines(last.summary, "Computed")
    lines += [f"  **stale**: {last.stale}"] if last.stale else []
    yield "\n".join(lines)
    if before is not None:
        now, then = last.summary["val"], before.summary["val"]
        stale = f"; stale: {before.stale}" if before.stale else ""
        rows = [
            f"The run before, {before.name}: H-mean {then['hmean']:.4f} on {then['samples']} samples "
            f"({now['hmean'] - then['hmean']:+.4f} since){stale}"
        ]
        rows += [f"- {key}: {old} → {new}" for key, (old, new) in changed_settings(last, before).items()]
        yield "\n".join(rows)
