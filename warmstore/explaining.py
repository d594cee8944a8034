"""What `warmstore explain` says of a sample: which words and files changed, and what is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pipeline.errors import Quarantine, StoreError, shortened
from pipeline.maintenance import compute_chain, explain
from pipeline.planning import Pipeline, SourceSample
from pipeline.stage import Stage
from pipeline.store import Store, value_digest

Outcome = Mapping[str, dict[str, Any] | Quarantine]


def explained(pipeline: Pipeline, sample_id: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Explain each stage by name, as the engine does and whether it is `computed_again`; and a sentence.

    Where anything changed the sample is computed in memory: results that come out as they are stored
    reach no stage behind them. Raises ConfigError where the split does not know the sample.
    """
    stages = {stage["stage"]: {**stage, "computed_again": False} for stage in explain(pipeline, sample_id)}
    sample = next((found for found in pipeline.samples() if found.sample_id == sample_id), None)
    if sample is None:
        return {}, "it is not listed any more: a run drops it"
    if all(stage["state"] == "fresh" for stage in stages.values()):
        return stages, "nothing changed"
    outcome: Outcome = {}
    if next(iter(stages.values()))["state"] != "quarantined":  # what it is refused for may end the process
        outcome = compute_chain(pipeline.stages, sample)
    changes: list[str] = []
    for stage in pipeline.stages:
        told, now = stages.get(stage.name, {}), outcome.get(stage.name)
        if now is None or isinstance(now, Quarantine):
            why = f"{now.code}: {now.reason}" if now is not None else "; ".join(told.get("why", ()))
            why = why.removeprefix(f"{stage.name}: ")  # a verdict that is stored names its stage
            return stages, "; ".join([*changes, f"{stage.name} refuses it: {why}"])
        store = _open(pipeline, stage)
        found = list(_changes(pipeline, stage, store, sample, outcome, told))
        changes += [change for change in found if change]
        if found and told:
            told["computed_again"] = True
    again = [name for name, told in stages.items() if told["computed_again"]]
    kept = [name for name in stages if name not in again]
    for name in again:  # what comes out as it is stored is no reason for the stages behind it
        spared = {f"{name} is stale: {other} is stale" for other in kept}
        stages[name]["why"] = [why for why in stages[name]["why"] if why not in spared]
    sentence = f"{'; '.join(dict.fromkeys(changes)) or 'results changed'}: {_are(again)} computed again"
    return stages, sentence + (f", {_are(kept)} not" if kept else "") if again else "nothing changed"


def _open(pipeline: Pipeline, stage: Stage) -> Store | None:
    with suppress(StoreError):
        return pipeline.workspace.generations(stage).open()
    return None


def _changes(
    pipeline: Pipeline,
    stage: Stage,
    store: Store | None,
    sample: SourceSample,
    outcome: Outcome,
    told: Mapping[str, Any],
) -> Iterator[str]:
    """Give what makes a stage compute the sample again; an empty text where a stage before has told it."""
    row = store.rows.get(sample.sample_id) if store is not None else None
    if store is None or row is None:
        yield f"{stage.name} was never built" if store is None else f"{stage.name} does not hold it yet"
        return
    yield from told.get("recipe_changes", ())
    if told.get("state") == "damaged":
        yield from told["why"]
    inputs = [stored.tobytes() for stored in store.inputs[row]]
    if stage.reads:
        if inputs != list(_digests(pipeline, stage, outcome)):
            yield ""
        return
    before = dict(zip(store.info.inputs, inputs, strict=True))
    differ = [name for name, digest in sample.inputs.items() if before.get(name) != digest]
    if "image" in differ:
        yield f"the file {Path(sample.payload.image).resolve()} changed"
    if "annotation" in differ:
        yield from _word_changes(store, row, outcome[stage.name])
    if "frame" in differ:
        yield f"its labels are taken as drawn in the {sample.payload.frame} frame ({sample.payload.rule})"


def _digests(pipeline: Pipeline, stage: Stage, outcome: Outcome) -> Iterator[bytes]:
    """Digest what a stage reads of the stages before it, as they come out now."""
    for upstream, names in stage.reads.items():
        fields = {field.name: field for field in pipeline.stage(upstream).fields()}
        values = outcome[upstream]
        assert not isinstance(values, Quarantine)
        yield from (value_digest(fields[name], values[name]) for name in names)


def _word_changes(store: Store, row: int, now: Any) -> Iterator[str]:
    """Say which words of a sample are other than they are stored, counted from 1 in the labels' order."""
    try:
        old = _words({name: store.value(name, row) for name in ("points", "ignore", "text")})
    except StoreError:
        yield "its labels changed"
        return
    new, told = _words(now), list[str]()
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        pairs = zip_longest(old[a:b], new[c:d]) if kind != "equal" else ()
        for place, (before, after) in enumerate(pairs):
            if after is None:
                told.append(f"word {a + place + 1} is gone{_text(before)}")
            elif before is None:
                told.append(f"word {c + place + 1} is new{_text(after)}")
            else:
                told.append(f"word {c + place + 1} {_difference(before, after)}")
    yield shortened(told) if told else "its labels are written in another way"


def _text(word: Sequence[Any]) -> str:
    return f' ("{word[1]}")' if word[1] else ""


def _difference(before: Sequence[Any], after: Sequence[Any]) -> str:
    said = [f"moved{_text(after)}"] if before[0] != after[0] else []
    said += [f'reads "{after[1]}" instead of "{before[1]}"'] if before[1] != after[1] else []
    said += ["is ignored now" if after[2] else "counts now"] if before[2] != after[2] else []
    return " and ".join(said)


def _words(values: Mapping[str, Any]) -> list[tuple[bytes, str, bool]]:
    """Give each word's polygon, text, and whether it is ignored."""
    return [
        (points.tobytes(), bytes(text).decode(errors="replace"), bool(ignore))
        for points, text, ignore in zip(values["points"], values["text"], values["ignore"], strict=True)
    ]


def _are(names: Sequence[str]) -> str:
    listed = " and ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])
    return f"{listed} {'are' if len(names) > 1 else 'is'}"
