"""Workers, schedulers and clients that die, stop, leave and join: the same bytes, and nobody is blamed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.execution import Executor, ExecutorConfig
from pipeline.runner import run_stages
from tests.support.dask_processes import PROJECT, Cluster, family, kill, tell
from tests.support.toy import Silent, clean_digests, make_pipeline, run, write

pytestmark = pytest.mark.slow
SAMPLES = 24


class After(Silent):
    """Does something to the cluster once some samples of the first stage are done."""

    def __init__(self, samples: int, act: Callable[[], object]) -> None:
        super().__init__()
        self.samples, self.act = samples, act

    def begin(self, split: str, stage: str, samples: int) -> Callable[[int], None]:
        advance = super().begin(split, stage, samples)

        def advance_and_act(count: int) -> None:
            advance(count)
            if stage == "read" and self.advanced["read"] >= self.samples:
                act, self.act = self.act, lambda: None
                act()

        return advance_and_act


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write(tmp_path / "raw", **{f"s{i:02}": f"slowly {i}" for i in range(SAMPLES)})
    return tmp_path / "raw"


def on(cluster: Cluster) -> ExecutorConfig:
    return ExecutorConfig(kind="dask", address=cluster.address, batch=2)


def kill_the_inner_process(cluster: Cluster) -> None:
    """Kill a worker and leave its nanny, which starts another one under another address."""
    tree = family(cluster.workers[0])
    next(member for member in tree if "spawn_main" in " ".join(member.cmdline())).kill()


def stop_for_a_while(cluster: Cluster) -> None:
    tell(cluster.workers[0], signal.SIGSTOP)
    threading.Timer(2, tell, (cluster.workers[0], signal.SIGCONT)).start()


def retire(cluster: Cluster) -> None:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        client.retire_workers([next(iter(client.nthreads()))])


@pytest.mark.parametrize(
    "act",
    [
        lambda cluster: kill(cluster.workers[0]),
        kill_the_inner_process,
        stop_for_a_while,
        retire,
        lambda cluster: cluster.workers[0].send_signal(signal.SIGTERM),
        lambda cluster: (kill(cluster.workers[0]), kill(cluster.workers[1]), cluster.join()),
    ],
    ids=["killed", "restarted", "stopped", "retired", "terminated", "all replaced"],
)
def test_whatever_becomes_of_workers(
    raw: Path, tmp_path: Path, cluster: Cluster, act: Callable[[Cluster], object]
) -> None:
    pipeline, told = make_pipeline(raw, tmp_path / "work"), After(4, lambda: act(cluster))
    with Executor(on(cluster)) as executor:
        results = dict(run_stages(pipeline, ["read"], executor, told))
    assert results["read"].accepted == SAMPLES
    assert results["read"].digest == run(raw, tmp_path / "clean", ["read"])["read"].digest


@pytest.mark.parametrize("who", ["scheduler", "workers"])
def test_who_is_lost_for_good_is_one_error_and_a_rerun_continues(
    raw: Path, tmp_path: Path, cluster: Cluster, who: str
) -> None:
    def kill_them() -> None:
        for process in cluster.workers if who == "workers" else [cluster.scheduler]:
            kill(process)

    write(tmp_path / "first", a="so that the workers have imported all")
    run(tmp_path / "first", tmp_path / "warm", ["read"], executor=on(cluster))
    config = on(cluster).model_copy(update={"wait_workers": 5.0})
    found = r"scheduler at .* is gone; start it again" if who == "scheduler" else "has had no worker for"
    with pytest.raises(PipelineError, match=rf"{found}.*continues"), Executor(config) as executor:
        list(run_stages(make_pipeline(raw, tmp_path / "work"), ["read"], executor, After(8, kill_them)))
    rerun = run(raw, tmp_path / "work")
    assert 0 < rerun["read"].computed <= SAMPLES - 8
    assert {n: r.digest for n, r in rerun.items()} == clean_digests(raw, tmp_path / "clean")


_CLIENT = """
import sys
from pathlib import Path
from pipeline.execution import ExecutorConfig
from tests.support.toy import run
run(Path(sys.argv[1]), Path(sys.argv[2]), executor=ExecutorConfig(kind="dask", address=sys.argv[3], batch=2))
"""


def test_a_client_that_is_killed_leaves_nothing_in_the_way(
    raw: Path, tmp_path: Path, cluster: Cluster
) -> None:
    work, staging = tmp_path / "work", tmp_path / "work/val/.staging/read"
    command = [sys.executable, "-c", _CLIENT, str(raw), str(work), cluster.address]
    with subprocess.Popen(command, cwd=PROJECT) as client:
        while client.poll() is None and len(list(staging.glob("*.records"))) < 3:
            time.sleep(0.02)
        client.kill()
    assert client.returncode == -signal.SIGKILL
    rerun = run(
        raw, work, executor=on(cluster)
    )  # while workers may still be at what the dead client gave them
    assert rerun["read"].computed < SAMPLES
    assert {n: r.digest for n, r in rerun.items()} == clean_digests(raw, tmp_path / "clean")


@pytest.mark.parametrize("kind", ["serial", "threads", "processes", "dask"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_what_is_under_way(
    raw: Path, tmp_path: Path, kind: str, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    if kind == "dask" and number == signal.SIGTERM:
        pytest.skip("the signals differ in their number alone, and a cluster takes seconds to start")
    config = ExecutorConfig(kind=kind, workers=2, batch=2)
    if kind == "dask":
        config = on(request.getfixturevalue("cluster"))
    told, before = After(4, lambda: os.kill(os.getpid(), number)), signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stopped, Executor(config) as executor:
        list(run_stages(make_pipeline(raw, tmp_path / "work"), ["read"], executor, told))
    assert stopped.value.exit_code == 128 + number  # type: ignore[attr-defined]
    assert signal.getsignal(number) == before
    done = told.advanced["read"]
    assert 4 <= done < SAMPLES
    assert run(raw, tmp_path / "work", ["read"])["read"].computed == SAMPLES - done
