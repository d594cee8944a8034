"""Verdicts of a store that other generations, made of the very same inputs, do not share."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.errors import Remedy, StoreError
from pipeline.store import Store, open_store

RETRY = Remedy("run", ("--retry",), " to try again")


@dataclass(frozen=True)
class Contested:
    """A sample that a store quarantines, and what the newest `generation` that knows better says of it.

    `code` and `host` are the verdict's (`host` of one that may be a machine's fault), `otherwise` is
    `accepted` or the other verdict's code.
    """

    sample_id: str
    code: str
    host: str
    otherwise: str
    generation: int

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        return (
            f"{self.sample_id} is quarantined ({self.code}{where}), and generation {self.generation} "
            f"has it as {self.otherwise}, from the same inputs"
        )

    def as_json(self) -> dict[str, Any]:
        """Give the finding as JSON values."""
        return asdict(self)


def contested_verdicts(store: Store) -> list[Contested]:
    """Compare the verdicts that a store's own stage gave with the other generations that are still there.

    The same fingerprint means the same inputs, recipe and libraries: what differs came from a machine.
    """
    verdicts = {
        (verdict["sample_id"], verdict["fingerprint"]): verdict
        for verdict in store.info.quarantined
        if "fingerprint" in verdict
    }
    found: dict[str, Contested] = {}
    for path in sorted(store.path.parent.glob("[0-9]*-*")) if verdicts and store.generation else ():
        if path == store.path:
            continue
        with suppress(StoreError), open_store(path) as other:
            for (sample_id, fingerprint), said in _outcomes(other, {name for name, _ in verdicts}).items():
                verdict = verdicts.get((sample_id, fingerprint))
                if verdict is not None and said != verdict["code"]:
                    host = verdict.get("host", "")
                    found[sample_id] = Contested(sample_id, verdict["code"], host, said, other.generation)
    return list(found.values())


def _outcomes(store: Store, samples: set[str]) -> dict[tuple[str, str], str]:
    """Say of some samples, by fingerprint, whether a store accepts them or with which code it does not."""
    outcomes = {
        (verdict["sample_id"], verdict["fingerprint"]): str(verdict["code"])
        for verdict in store.info.quarantined
        if "fingerprint" in verdict
    }
    for sample_id in samples & store.rows.keys():
        outcomes[sample_id, store.fingerprints[store.rows[sample_id]].tobytes().hex()] = "accepted"
    return outcomes
