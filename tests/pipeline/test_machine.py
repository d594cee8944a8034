"""Whatever happens to the data, the parameters and the runs: incremental = clean build, byte for byte."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline import failpoints
from pipeline.errors import PipelineError
from pipeline.maintenance import compare_with_source, preview, verify_store
from pipeline.store import open_store
from tests.support.toy import STAGES, make_pipeline, run, tree, write

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
TEXTS = st.sampled_from(["one", "one\ntwo", "bad", "12", "longer than the rest\nand more", ""])


class Work(RuleBasedStateMachine):
    """A folder of raw files, a work folder, and what a user does to both."""

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="machine-"))
        self.raw, self.work, self.parameters = self.root / "raw", self.root / "work", {"ink": 1}
        write(self.raw, keep="always there")
        self.fresh = False

    def teardown(self) -> None:
        failpoints.arm("")
        shutil.rmtree(self.root)

    @rule(name=NAMES, text=TEXTS)
    def edit(self, name: str, text: str) -> None:
        write(self.raw, **{name: text})
        self.fresh = False

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        (self.raw / f"{name}.txt").unlink(missing_ok=True)
        self.fresh = False

    @rule(ink=st.sampled_from([1, 2]), upper=st.booleans())
    def change_parameters(self, ink: int, upper: bool) -> None:
        self.parameters = {"ink": ink, "upper": upper}
        self.fresh = False

    @rule()
    def run(self) -> None:
        """A run computes what a plan said it would, at most and at least."""
        plan = dict(preview(make_pipeline(self.raw, self.work, **self.parameters)))
        for name, result in run(self.raw, self.work, **self.parameters).items():
            assert plan[name].certain <= result.computed <= plan[name].compute
            assert plan[name].state == "fresh" or not self.fresh
        self.fresh = True

    @rule(point=st.sampled_from(failpoints.POINTS[:-1]), visit=st.integers(1, 12))
    def interrupt(self, point: str, visit: int) -> None:
        """A run that a broken disk ends somewhere; the kills are in test_faults."""
        failpoints.arm(f"{point}:{visit}:eio")
        try:
            run(self.raw, self.work, **self.parameters)
            self.fresh = True
        except PipelineError:
            self.fresh = False
        finally:
            failpoints.arm("")

    @rule(keep=st.integers(0, 1))
    def collect(self, keep: int) -> None:
        pipeline = make_pipeline(self.raw, self.work)
        for stage in pipeline.stages:
            pipeline.workspace.generations(stage).collect(keep, dry_run=False)

    @precondition(lambda self: self.fresh)
    @rule()
    def compare(self) -> None:
        pipeline = make_pipeline(self.raw, self.work, **self.parameters)
        assert all(result.passed for result in compare_with_source(pipeline, STAGES).values())
        run(self.raw, self.root / "clean", **self.parameters)
        for name in STAGES:
            clean = self.root / f"clean/val/{name}.zarr"
            assert tree(self.work / f"val/{name}.zarr") == tree(clean)
        shutil.rmtree(self.root / "clean")

    @invariant()
    def published_stores_are_whole(self) -> None:
        for name in STAGES if hasattr(self, "work") else ():
            path = self.work / f"val/{name}.zarr"
            if path.exists():
                assert verify_store(path).passed
                counts = open_store(path).attributes["counts"]
                assert counts["accepted"] + counts["quarantined"] == counts["listed"]


Work.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWork = Work.TestCase
