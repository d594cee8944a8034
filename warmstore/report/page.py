"""The report as one self-contained HTML page: it asks nothing of any network, and works from a file."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from warmstore import show
from warmstore.remarks import together
from warmstore.report import charts
from warmstore.report.artist import Card
from warmstore.report.facts import Report, spread
from warmstore.report.gallery import Gallery
from warmstore.report.trainings import changed_settings

_HERE = Path(__file__).parent
_MOST_ROWS, _MOST_EPOCHS, _MOST_FIELDS = 200, 12, 6


def render_page(report: Report, gallery: Gallery) -> str:
    """Render the page. File names and label texts are untrusted, and escaped wherever they stand."""
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": show.size, "duration": show.duration, "uri": _uri, "spread": spread}
    return environment.get_template("report.html").render(
        report=report,
        remarks=together(report.remarks),
        gallery=gallery,
        style=Markup(style),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        places={(card.split, card.sample_id): place for place, card in enumerate(gallery.cards)},
        flags=Counter(flag for card in gallery.cards for flag in card.flags),
        histograms=[charts.histogram(found) for found in report.distributions],
        tallies=_tallies(report),
        curves=_curves(report),
        profile=_profile(report),
        stored=_stored(report),
        changed=changed_settings(report.last, report.before) if report.last and report.before else {},
        most_rows=_MOST_ROWS,
        described=describe,
    )


def describe(card: Card) -> str:
    """Say in words what a card shows: its alternative text."""
    if card.problem:
        return f"{card.sample_id} of split {card.split}: {card.problem}"
    counts = Counter(region.kind for region in card.regions)
    words = [f"{len(card.regions)} regions"]
    words += [f"{counts[kind]} {kind}" for kind in ("lost", "ignored") if counts[kind]]
    words += [f"H-mean {card.hmean:.3f}"] if card.hmean is not None else []
    return f"{card.sample_id} of split {card.split}: {', '.join(words)}"


def _uri(data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _tallies(report: Report) -> list[tuple[str, str, Mapping[str, int]]]:
    """What stages counted while they ran: split, what was counted, and how often each word."""
    return [
        (split, name, counts)
        for split, stages in report.stages.items()
        for preview in stages.values()
        for name, counts in preview.tallies.items()
        if counts
    ]


def _curves(report: Report) -> dict[str, Any]:
    """Draw the newest training's losses and H-mean, the latter beside those of the training before."""
    logged = [run for run in report.runs if run.losses or len(run.hmeans) > 1]
    if not logged:
        return {}
    run, before = logged[0], logged[1] if len(logged) > 1 else None
    hmeans = {"this training": run.hmeans} | ({"the one before": before.hmeans} if before else {})
    hmeans = {name: curve for name, curve in hmeans.items() if curve}
    drawn: dict[str, Any] = {"run": run, "before": before, "loss": "", "hmean": ""}
    if run.losses:
        drawn["loss"] = charts.lines(run.losses, f"Loss by epoch: {_ends(run.losses)}")
    if hmeans:
        drawn["hmean"] = charts.lines(hmeans, f"H-mean by epoch: {_ends(hmeans)}", 1.0)
    return drawn | {"hmeans": list(hmeans), "losses": list(run.losses)}


def _ends(series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Say where curves begin and end."""
    return "; ".join(f"{name} from {curve[0][1]:.4g} to {curve[-1][1]:.4g}" for name, curve in series.items())


def _profile(report: Report) -> dict[str, Any]:
    """Draw what the validation epochs of the newest run spent their time on."""
    runs = [run for run in report.runs if run.summary.get("epochs")]
    if not runs:
        return {}
    epochs = runs[0].summary["epochs"][-_MOST_EPOCHS:]
    parts = [
        key for key in epochs[0] if key.endswith("_s") and not key.endswith(("wall_s", "work_s", "per_s"))
    ]
    rows = {
        f"epoch {row['epoch']}": {
            _words(key): (row.get(key, 0.0), show.duration(row.get(key, 0.0))) for key in parts
        }
        for row in epochs
    }
    label = f"Seconds of each validation epoch; the last took {show.duration(epochs[-1]['wall_s'])}"
    drawn = {"run": runs[0], "epochs": epochs, "parts": list(map(_words, parts))}
    return drawn | {"chart": charts.stacked(rows, label)}


def _words(key: str) -> str:
    """Spell the key of a part of an epoch: `data_wait_s` → `data wait`."""
    return key.removesuffix("_s").replace("_", " ")


def _stored(report: Report) -> dict[str, Any]:
    """Draw what the stores take, by the fields that take most of it all, and the rest together."""
    rows = {
        f"{split} {stage}": fields
        for split, stages in report.storage.fields.items()
        for stage, fields in stages.items()
    }
    by_field: Counter[str] = Counter()
    for fields in rows.values():
        by_field.update(fields)
    most = [name for name, _ in by_field.most_common(_MOST_FIELDS)]
    bars = {}
    for store, fields in rows.items():
        parts = {name: fields.get(name, 0) for name in most}
        parts["everything else"] = sum(fields.values()) - sum(parts.values())
        bars[store] = {name: (float(count), show.size(count)) for name, count in parts.items()}
    label = f"Bytes by store: {show.size(by_field.total())} in all"
    return {
        "total": by_field.total(),
        "parts": [*most, "everything else"],
        "rows": bars,
        "sizes": {store: sum(fields.values()) for store, fields in rows.items()},
        "chart": charts.stacked(bars, label),
    }
