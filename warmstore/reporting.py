"""The report on a work folder: what is stored, what was refused and why, what the last metric stands on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.maintenance import Preview
from warmstore import show
from warmstore.options import Invocation
from warmstore.workflows import read_summary


def gather(
    asked: Invocation, previews: Mapping[str, Mapping[str, Preview]], remarks: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Collect the report's facts as JSON values."""
    opened = {split: asked.stores(split, told=True) for split in previews}
    quarantined = {split: list(stores[-1].info.quarantined) for split, stores in opened.items() if stores}
    runs = [run for folder in asked.config.runs_dirs for run in folder.glob("*")]
    runs.sort(key=lambda run: run.name)
    measured = [found for found in map(read_summary, runs) if found.get("val")]
    return {
        "stores": {s: {n: p.to_json() for n, p in stages.items()} for s, stages in previews.items()},
        "quarantined": quarantined,
        "remarks": dict(remarks),
        "last_metric": measured[-1] if measured else None,
    }


def markdown(name: str, found: Mapping[str, Any]) -> str:
    """Write the report for people."""
    lines = [
        f"# warmstore: {name}",
        "",
        "| split | stage | samples | accepted | quarantined | size | state |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for split, stages in found["stores"].items():
        for stage, p in stages.items():
            state = f"{p['state']}: {'; '.join(p['why'])}" if p["why"] else p["state"]
            cells = (
                split,
                stage,
                p["samples"],
                p["accepted"],
                p["quarantined"],
                show.size(p["bytes"]),
                state,
            )
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "## Quarantined", ""]
    rows = [f"- {split} {show.verdict(v)}" for split, vs in found["quarantined"].items() for v in vs]
    lines += rows or ["None."]
    if told := [f"- {split}: {remark}" for split, said in found["remarks"].items() for remark in said]:
        lines += ["", "## Remarks", "", *told]
    lines += ["", "## Last metric", ""]
    last = found["last_metric"]
    lines += metric_lines(last, "Computed") if last else ["No training or validation yet."]
    return "\n".join(lines)


def metric_lines(summary: dict[str, Any], done: str) -> list[str]:
    """Write a metric for people: never without the samples that it stands on."""
    found, store = summary["val"], summary["store"]
    used = f"{done} in {summary.get('val_precision', summary['precision'])}"
    ends = [
        f"  with {summary['checkpoint'] or 'no checkpoint: none was kept'}",
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
