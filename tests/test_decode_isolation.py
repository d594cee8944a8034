"""A decoder that crashes, hangs or eats memory costs one sample: the real stages, a stand-in decoder."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ocr.splits import AnnotatedSplit
from pipeline.execution import Executor, ExecutorConfig
from pipeline.planning import FileHashes, Pipeline
from pipeline.runner import run_stages
from pipeline.stage import FileContent, Inputs
from pipeline.store import open_store
from pipeline.workspace import Workspace
from stages import Canonicalize, Decode
from tests.support import image_bytes as made
from tests.support.toy import Silent

ENDS = {b"segfault": "crashed", b"for ever": "timed_out", b"allocate": "out_of_memory"}


class Fragile(Decode):
    """The decode stage, with a decoder that what follows the image's end makes misbehave."""

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        """Decode, or do what the last bytes say."""
        content: FileContent = inputs.values["canonicalize"]["upright"]
        match content.data[-8:]:
            case b"segfault":
                ctypes.string_at(0)
            case b"for ever":
                while True:
                    pass
            case b"allocate":
                hoard = []
                while True:
                    hoard.append(bytes(64 << 20))
        return super().compute(inputs)


@pytest.mark.slow
def test_a_fragile_decoder_costs_the_samples_that_break_it_and_no_others(tmp_path: Path) -> None:
    images = {f"{i:02}.jpg": made.jpeg() for i in range(10)}
    images |= {f"05 {end.decode()}.jpg": made.jpeg() + end for end in ENDS}
    folder = tmp_path / "images"
    folder.mkdir()
    for name, data in images.items():
        (folder / name).write_bytes(data)
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"images": {name: {"words": []} for name in sorted(images)}}))
    workspace = Workspace(tmp_path / "work", "val")
    pipeline = Pipeline(
        workspace,
        (Canonicalize(), Fragile(canvas=(32, 32))),
        AnnotatedSplit(folder, labels),
        FileHashes(workspace.folder / ".hashes", tmp_path),
    )
    # The time that a new worker takes to start counts too.
    config = ExecutorConfig(kind="processes", workers=2, batch=1, timeout=10.0, memory=1 << 30)
    with Executor(config) as executor:
        results = dict(run_stages(pipeline, ("canonicalize", "decode"), executor, Silent()))
    assert (results["decode"].samples, results["decode"].accepted) == (13, 10)
    store = open_store(workspace.generations(Fragile()).path)
    verdicts = {verdict["sample_id"]: verdict["code"] for verdict in store.attributes["quarantined"]}
    assert verdicts == {f"05 {end.decode()}.jpg": code for end, code in ENDS.items()}
    assert store.attributes["tallies"] == {"decoder": {"turbojpeg": 10}}
