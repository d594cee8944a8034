"""A stage whose bytes change gets a new version: the digests here hold it to that.

When a test fails, either the change was not meant to change bytes, or `version` of the stage goes up
by one and the new digest is written here. Other libraries may give other bytes, which the recipe
tells apart; so the digests hold for the pinned ones, and the test says when it met others.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ocr.annotations import Word
from ocr.preprocess import RawSample
from pipeline.digest import canonical_json, digest
from pipeline.maintenance import compute_chain
from pipeline.planning import SourceSample
from pipeline.store import value_digest
from stages import STAGES, Canonicalize, Decode, Maps, Tensors

GOLDEN = Path(__file__).parent / "golden"
CANVAS = (128, 96)

# (stage, version) → digest of the libraries that decide its bytes, digest of its outputs
DIGESTS = json.loads((GOLDEN / "digests.json").read_text())


@pytest.fixture(scope="module")
def outputs() -> dict[str, dict[str, str]]:
    points = json.loads((GOLDEN / "receipt.json").read_text())
    words = tuple(Word(np.array(p, dtype=np.float64), f"word {i}", i % 5 == 4) for i, p in enumerate(points))
    sample = SourceSample("receipt.jpg", {}, RawSample(GOLDEN / "receipt.jpg", words))
    stages = (Canonicalize(), Decode(canvas=CANVAS), Maps(canvas=CANVAS), Tensors(canvas=CANVAS))
    outcome = compute_chain(stages, sample)
    found = {}
    for stage in stages:
        values = outcome[stage.name]
        assert isinstance(values, dict), values
        parts = {field.name: value_digest(field, values[field.name]).hex() for field in stage.fields()}
        libraries = digest(canonical_json(dict(stage.libraries()))).hex()
        found[f"{stage.name} {stage.version}"] = {
            "libraries": libraries,
            "outputs": digest(canonical_json(parts)).hex(),
        }
    return found


@pytest.mark.parametrize("stage", [f"{stage.name} {stage.version}" for stage in STAGES])
def test_bytes_of_a_version_never_change(stage: str, outputs: dict[str, dict[str, str]]) -> None:
    assert stage in DIGESTS, f"a new version: add to golden/digests.json {json.dumps(outputs[stage])}"
    if outputs[stage]["libraries"] != DIGESTS[stage]["libraries"]:
        pytest.skip("other libraries than the pinned ones decide the bytes here")
    assert outputs[stage]["outputs"] == DIGESTS[stage]["outputs"]
