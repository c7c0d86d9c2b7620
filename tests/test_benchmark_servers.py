"""
Every server of the benchmarks serves, publishes and ends as the load client takes for granted.

A peer that is not installed is skipped, and said; where ``BENCH_PEERS=all`` is set it fails.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import REDIS_URL

peers = pytest.importorskip("benchmarks.peers", reason="only in a checkout, not in a package")
from benchmarks import services  # noqa: E402
from benchmarks.events import GROUP, group_names  # noqa: E402
from benchmarks.load import LoadClient, Tally  # noqa: E402
from benchmarks.measure import Session, counts_of  # noqa: E402
from benchmarks.process import ROOT, ServerProcess, descendants_of  # noqa: E402

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not hasattr(select, "epoll"), reason="the client uses epoll"),
]

STREAMS = 3


def start(name: str, directory: Path) -> ServerProcess:
    return ServerProcess(name, min(os.sched_getaffinity(0)), directory)


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short path: the sockets of a server's parts are files in it."""
    path = tmp_path_factory.mktemp("b")
    yield path
    if services.redis_problem() is None:
        services.forget_redis_keys(path)


@pytest.fixture(params=peers.LABELS)
def server(
    request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServerProcess]:
    monkeypatch.setenv("BENCH_REDIS_URL", REDIS_URL)
    monkeypatch.setattr(services, "_REDIS_URL", REDIS_URL)
    if problem := peers.missing(request.param):
        if os.environ.get("BENCH_PEERS") == "all":
            pytest.fail(problem)
        pytest.skip(problem)
    with start(request.param, directory) as process:
        yield process


def all_came(tally: Tally, events: int) -> bool:
    nothing_wrong = dict.fromkeys(("lost", "repeated", "reordered", "strays"), 0)
    expected = STREAMS * events
    return counts_of(tally) == {"expected": expected, "deliveries": expected, **nothing_wrong}


def test_server_sends_each_event_to_the_streams_of_its_groups(server: ServerProcess) -> None:
    """All streams in one group, then each in a group of its own, at the same server."""
    first = 0
    for groups in (1, STREAMS):
        load = LoadClient(server.port, server.headers)
        session = Session(server, load, first, groups=groups)
        try:
            load.open(STREAMS, groups=group_names(groups))
            session.warm_up()
            assert all_came(session.paced(2), 2)
            server.wait_until_done()
            # As many as django-eventstream keeps for a stream that has not been written yet.
            assert all_came(session.burst(10), 10)
            server.wait_until_done()
        finally:
            load.close()
        first = session.next


def test_stream_gets_nothing_of_another_group(server: ServerProcess) -> None:
    """What is published to g0 and g1 does not reach the stream that is in neither."""
    load = LoadClient(server.port, server.headers)
    other = LoadClient(server.port, server.headers)
    try:
        load.open(2, groups=group_names(2))
        other.open(1, groups=[GROUP])
        session = Session(server, load, groups=2)
        session.warm_up()
        tally = other.expect(0, session.next)
        other.read(quiet_seconds=0.05)
        assert (tally.deliveries, tally.strays) == (0, 0)
    finally:
        load.close()
        other.close()


def test_usage_is_that_of_all_processes(directory: Path) -> None:
    """A server whose work is done by a worker of its own shows that worker's use, and ends it."""
    pytest.importorskip("granian")
    with start("django_sse-granian", directory) as server:
        main, *workers = server._pids()
        assert workers
        of_main = int(Path(f"/proc/{main}/status").read_text().split("VmRSS:")[1].split()[0])
        assert server.status()["rss_kb"] > of_main
        assert server.cpu_seconds() > 0
        watched = [os.pidfd_open(pid) for pid in workers]
    for each in watched:
        assert select.select([each], [], [], 10)[0]
        os.close(each)


def test_server_ends_with_the_benchmark(directory: Path) -> None:
    """A benchmark that was killed leaves nothing behind."""
    pytest.importorskip("granian")
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "benchmarks.servers", "django_sse-granian", "--core"]
    command += [str(min(os.sched_getaffinity(0))), "--control", str(theirs.fileno())]
    command += ["--directory", str(directory)]
    process = subprocess.Popen(
        command, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True
    )
    try:
        theirs.close()
        assert ours.recv(1)  # Its worker has started, and has the other end.
        (worker,) = descendants_of(process.pid)
        watched = os.pidfd_open(worker)
        ours.close()
        assert select.select([watched], [], [], 10)[0]
        os.close(watched)
        process.wait(timeout=10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
