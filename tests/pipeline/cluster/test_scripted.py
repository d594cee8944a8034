"""What dask may do to a run, scripted: silence, failures, workers that leave, join and come back."""

from __future__ import annotations

import errno
import logging
import re
import signal
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import CancelledError

from pipeline.errors import ConfigError, PipelineError, host
from pipeline.execution import Executor, ExecutorConfig, dask_client, dask_cluster, dask_worker, handshake
from tests.support import toy
from tests.support.scripted_dask import ADDRESS, Client, Clock, isolate_nothing

A, B = "tcp://10.0.0.2:1", "tcp://10.0.0.3:1"


Run = Callable[..., list[Any]]


def double(task: Any, tell: Callable[[], object]) -> Any:
    return 2 * task


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run tasks over scripted workers until all have ended."""
    isolate_nothing(monkeypatch)

    def run_tasks(client: Client, clock: Clock | None = None, tasks: Iterable[Any] = range(6)) -> list[Any]:
        workers = dask_cluster.DaskWorkers(client, 1.0, 1 << 30, wait_workers=5.0, clock=clock or Clock())
        offered = handshake.offer(toy.Read(), tmp_path, None)
        try:
            with closing(workers.run(double, deque(tasks), offered)) as ended:
                return sorted(one.result() for one in ended)
        finally:
            assert all(future.released for future in client.futures)
            assert not list(tmp_path.glob("*.task"))

    return run_tasks


def test_silence_is_told_every_thirty_seconds(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    client, clock = Client(A), Clock()
    clock.at = {10: lambda: client.silent.add(A), 100: client.wake}
    assert run(client, clock, range(50)) == list(range(0, 100, 2))
    told = [record.getMessage() for record in caplog.records]
    lasted = [int(re.findall(r"read: no task has ended for (\d+) s \(\w+ has 2\)", line)[0]) for line in told]
    assert len(lasted) == 2 and lasted[0] >= 30 and 30 <= lasted[1] - lasted[0] < 35


def test_workers_have_two_tasks_a_thread_and_dask_carries_none_of_them(tmp_path: Path, run: Run) -> None:
    client, clock = Client(A, B), Clock()
    client.workers = {A: 1, B: 3}
    held: list[Counter[str]] = []

    def look_and_wake() -> None:
        held.append(Counter(address for address, _, _ in client.calls))
        client.wake()

    clock.at = {6: lambda: client.silent.update((A, B)), 30: look_and_wake}
    tasks = [bytes(100_000)] * 60
    assert run(client, clock, tasks) == [2 * task for task in tasks]
    assert held == [{A: 2, B: 6}]
    assert client.bytes < 1000 * len(client.futures)


@pytest.mark.parametrize(
    ("client", "silent", "told"),
    [
        (
            Client(),
            set(),
            f"scheduler at {ADDRESS} has had no worker for [56] s: start some with `dask worker",
        ),
        (Client(A), {A}, f"the dask workers {A} have not answered for [56] s; look into their logs"),
    ],
)
def test_no_worker_in_time_is_an_error_with_what_to_do(
    run: Run, client: Client, silent: set[str], told: str
) -> None:
    client.silent = silent
    with pytest.raises(PipelineError, match=rf"{told}.*wait longer with executor\.wait_workers"):
        run(client)


@pytest.mark.parametrize("address", [ADDRESS, None])
def test_workers_of_this_machine_are_waited_for_while_they_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    """On a busy machine a cluster of its own was given up after a minute."""
    client, clock = Client(A), Clock()
    client.silent.add(A)
    clock.at = {300: client.wake}
    isolate_nothing(monkeypatch)
    monkeypatch.setattr(dask_client, "connected", lambda *_: nullcontext(client))
    monkeypatch.setattr(dask_cluster, "DaskWorkers", partial(dask_cluster.DaskWorkers, clock=clock))
    config = ExecutorConfig(kind="dask", address=address)
    offered = handshake.offer(toy.Read(), tmp_path, None)
    with (
        Executor(config) as executor,
        pytest.raises(PipelineError, match="not answered for 6") if address else nullcontext(),
    ):
        (ended,) = executor.run("dask", double, deque([1]), offered)
        assert ended.result() == 2


def test_one_client_serves_all_stages_of_a_run(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate_nothing(monkeypatch)
    clients: list[Client] = []

    def connected(*_: Any) -> Any:
        clients.append(Client(A))
        return nullcontext(clients[-1])

    monkeypatch.setattr(dask_client, "connected", connected)
    found = toy.run(raw, tmp_path / "work", executor=ExecutorConfig(kind="dask", batch=1))
    assert {name: result.digest for name, result in found.items()} == toy.clean_digests(
        raw, tmp_path / "clean"
    )
    assert len(clients) == 1


def test_a_scheduler_that_is_lost_is_an_error(run: Run) -> None:
    client, clock = Client(A), Clock()
    client.silent.add(A)
    clock.at = {4: lambda: setattr(client, "status", "closed")}
    with pytest.raises(PipelineError, match=rf"scheduler at {ADDRESS} is gone; start it again .*continues"):
        run(client, clock)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (RuntimeError("could not carry it"), "RuntimeError: could not carry it"),
        (CancelledError("key"), "cancelled: key"),
    ],
)
@pytest.mark.parametrize("failures", [4, 5])
def test_a_task_that_dask_cannot_carry_is_tried_five_times(
    run: Run, failures: int, failure: BaseException, told: str
) -> None:
    client = Client(A)
    client.failing[A], client.failure = failures, failure
    if failures == 5:
        with pytest.raises(
            PipelineError, match=rf"failed one task of read 5 times, last on {A} \({told}\).*no verdict"
        ):
            run(client, tasks=range(1))
    else:
        assert run(client, tasks=range(1)) == [0]


def test_a_scheduler_that_does_not_answer_for_a_while_is_told_and_waited_for(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def answer_nobody(callback_timeout: float) -> dict[str, int]:
        raise TimeoutError

    client, clock = Client(A), Clock()
    clock.at = {
        6: lambda: setattr(client, "nthreads", answer_nobody),
        12: lambda: delattr(client, "nthreads"),
    }
    assert run(client, clock, range(20)) == list(range(0, 40, 2))
    assert set(caplog.messages) == {f"the dask scheduler {ADDRESS} does not answer (timeout)"}
    clock.at = {clock.now + 6: lambda: setattr(client, "nthreads", answer_nobody)}
    client.silent.add(A)
    client.status = "closed"
    with pytest.raises(PipelineError, match=rf"scheduler at {ADDRESS} is gone"):
        run(client, clock)


def test_the_scheduler_is_asked_for_its_workers_no_more_often_than_that(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, clock = Client(A), Clock()
    asked: list[float] = []
    monkeypatch.setattr(client, "nthreads", lambda callback_timeout: asked.append(clock.now) or {A: 1})
    monkeypatch.setattr(dask_cluster, "_LOOK", 10.0)
    assert run(client, clock, range(60)) == list(range(0, 120, 2))
    assert len(asked) > 3 and all(after - before >= 10 for before, after in pairwise(asked))


def test_what_a_lost_worker_had_goes_to_one_that_joins(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    client, clock = Client(A), Clock()

    def replace() -> None:
        client.workers = {B: 1}

    clock.at = {6: lambda: client.silent.add(A), 20: replace}
    assert run(client, clock, range(20)) == list(range(0, 40, 2))
    assert client.done[-1] == B and f"the dask worker on {host()} ({A}) is gone" in caplog.text
    client.wake()  # the old one was only cut off, and answers late: nobody listens


def test_another_process_under_the_same_address_is_greeted_first(run: Run) -> None:
    client, clock = Client(A), Clock()
    clock.at = {6: dask_worker._greeted.clear}
    assert run(client, clock, range(20)) == list(range(0, 40, 2))


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device", "/tmp/pymp-1")


def test_a_full_temporary_folder_is_told_by_the_machine_that_has_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = rf"on {host()} .*No space left on device.*/tmp/pymp-1.*TMPDIR.*"
    with monkeypatch.context() as patch:
        patch.setattr(dask_worker, "_processes", full)
        with pytest.raises(PipelineError, match=f"no dask worker can be used: .*{told}"):
            run(Client(A))
    clock = Clock()
    clock.at = {6: lambda: monkeypatch.setattr(dask_worker, "_processes", full)}
    with pytest.raises(PipelineError, match=f"{told}continues"):
        run(Client(A), clock, range(20))
    monkeypatch.setattr("distributed.LocalCluster", full)
    told = r"cannot start 2 workers .*No space left .*whether there is room in"
    with pytest.raises(PipelineError, match=told), dask_client.connected(None, 2):
        pass


def test_what_a_cluster_of_ones_own_starts_is_deaf_to_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**_: Any) -> Any:
        heard.append(signal.getsignal(signal.SIGINT))
        raise RuntimeError("far enough")

    def connect() -> None:
        with pytest.raises(PipelineError, match="far enough"), dask_client.connected(None, 2):
            pass

    heard: list[Any] = []
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("distributed.LocalCluster", start)
    connect()
    assert heard == [signal.SIG_IGN] and signal.getsignal(signal.SIGINT) == before
    with ThreadPoolExecutor(1) as pool:  # which may not say what a signal does
        pool.submit(connect).result()
    assert heard == [signal.SIG_IGN, before]


@pytest.mark.parametrize("listening", [False, True])
def test_what_does_not_answer_as_a_scheduler_is_one_error_in_time(
    monkeypatch: pytest.MonkeyPatch, listening: bool
) -> None:
    monkeypatch.setattr(dask_client, "_DEADLINE", 0.3)
    monkeypatch.setattr(dask_client, "_GRACE", 0.3)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listening:
            other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with (
            Executor(ExecutorConfig(kind="dask", address=address)) as executor,
            pytest.raises(ConfigError, match=rf"no dask scheduler answers at executor\.address={address} "),
        ):
            executor.run("dask", double, deque([1]))


@pytest.mark.parametrize(("services", "told"), [({"dashboard": 8787}, ", dashboard http://here"), ({}, "")])
def test_who_is_connected_is_told_where_the_dashboard_is_and_spared_dasks_tracebacks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, services: dict[str, int], told: str
) -> None:
    talkative, levels = logging.getLogger("distributed.client"), list[int]()
    before = talkative.level
    client = SimpleNamespace(
        scheduler_info=lambda: {"services": services},
        dashboard_link="http://here",
        close=lambda timeout: levels.append(talkative.level),  # which tells of a scheduler that is gone
    )
    monkeypatch.setattr("distributed.Client", lambda *_, **__: client)
    with caplog.at_level(logging.INFO), dask_client.connected(ADDRESS, 2):
        pass
    assert caplog.messages == [f"dask scheduler at {ADDRESS}{told}"]
    assert levels == [logging.CRITICAL] and talkative.level == before
