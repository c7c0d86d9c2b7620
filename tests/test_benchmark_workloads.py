"""
The benchmarks of latency, memory, opening and growth work, and tell what they say they tell.

What is run here is far too small for figures.
"""

import json
import os
import resource
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

events = pytest.importorskip("benchmarks.events", reason="only in a checkout, not in a package")
from benchmarks import growth_report, limits, lineup, opener, opening, quick, registry  # noqa: E402
from benchmarks.timed_load import TimedLoadClient  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the client uses epoll")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(*seqs: int) -> bytes:
    lines = [f"data: {json.dumps(events.make_event(seq))}\n\n" for seq in seqs]
    body = "".join(lines).encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


class Peer:
    """A server that answers each request with *answer*, and keeps the connection."""

    def __init__(self, answer: bytes) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self.connections: list[socket.socket] = []
        self.requests: list[bytes] = []
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            request = connection.recv(4096)
            if not request:
                connection.close()
                return
            self.requests.append(request)
            self.connections.append(connection)
            connection.sendall(self._answer)

    def close(self) -> None:
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        for each in (*self.connections, self._listening):
            each.close()


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], Peer]]:
    peers = []

    def make(answer: bytes) -> Peer:
        peers.append(Peer(answer))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


def test_read_timed_notes_one_time_for_each_delivery(serve: Callable[[bytes], Peer]) -> None:
    """A lost event has no time, a repeated one has none of its own, joined ones have one each."""
    peer = serve(HEAD)
    client = TimedLoadClient(peer.port, {})
    client.open(2)
    sent: dict[int, list[bytes]] = {0: [chunk(0), chunk(0)], 1: [chunk(0, 0), b""], 2: [b""] * 2}
    sent[2] = [chunk(1, 2), chunk(2)]

    def publish(seq: int) -> None:
        for connection, data in zip(peer.connections, sent[seq], strict=True):
            connection.sendall(data)

    try:
        client.expect(0, 3)
        tally = client.read_timed(publish, 3, 0.001, quiet_seconds=0.05)
        assert (tally.deliveries, tally.lost, tally.repeated) == (5, 1, 2)
        assert len(client.latencies) == 5
        assert min(client.latencies) > 0
        # By the clock: an event is published though the one before has not come everywhere.
        assert len(client.lateness) == 3
        assert min(client.lateness) >= 0
    finally:
        client.close()


def test_forget_times_begins_anew(serve: Callable[[bytes], Peer]) -> None:
    """The floor is measured beside each server."""
    peer = serve(HEAD)
    client = TimedLoadClient(peer.port, {})
    client.open(1)
    try:
        client.expect(0, 1)
        client.read_timed(lambda seq: peer.connections[0].sendall(chunk(seq)), 1, 0.001, 0.05)
        client.forget_times()
        assert (len(client.latencies), len(client.lateness)) == (0, 0)
    finally:
        client.close()


def test_opener_makes_a_connection_for_each_request(serve: Callable[[bytes], Peer]) -> None:
    """A page is asked as a stream is: on a connection of its own, which is left open."""
    peer = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    client = opener.Opener(peer.port, "/user", {"Cookie": "sessionid=s"})
    try:
        assert client.open(60) > 0
        assert len(peer.connections) == 60
        assert all(b"GET /user " in request for request in peer.requests)
        assert all(b"Cookie: sessionid=s\r\n" in request for request in peer.requests)
        peer.connections[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.connections[0].recv(1)
    finally:
        client.close()
    peer.connections[0].setblocking(True)
    assert peer.connections[0].recv(1) == b""


def test_opener_refuses_a_redirect(serve: Callable[[bytes], Peer]) -> None:
    """A redirect to a login page must not be measured."""
    peer = serve(b"HTTP/1.1 302 Found\r\nLocation: /login/\r\n\r\n")
    client = opener.Opener(peer.port, "/user", {})
    with pytest.raises(RuntimeError, match="302"):
        client.open(1)
    client.close()


def test_at_most_leaves_room_below_the_hard_limit(capsys: pytest.CaptureFixture[str]) -> None:
    """What a process cannot have open is not tried, and it is said."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("any number of files may be open here")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
        assert limits.at_most(100) == 100
        assert capsys.readouterr().out == ""
        assert limits.at_most(hard) < hard
        assert f"{hard:,} files" in capsys.readouterr().out
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_in_turn_lets_each_begin_once() -> None:
    """What comes first in one run comes later in the next."""
    names = ["a", "b", "c"]
    assert [lineup.in_turn(names, number)[0] for number in range(3)] == names
    assert sorted(lineup.in_turn(names, 4)) == names


def test_opening_compares_within_each_round() -> None:
    """A machine that is slow for a round is slow for both."""
    turns = {opening.STREAMS: [90.0, 9.0, 45.0], opening.PLAIN: [100.0, 10.0, 50.0]}
    assert opening.ratios(turns) == pytest.approx([0.9, 0.9, 0.9])


def _rounds(cost: float) -> list[dict[str, Any]]:
    fault = dict.fromkeys(("lost", "repeated", "reordered"), 0)
    return [{"cpu_us_per_delivery": cost, "deliveries_per_second": 1e6 / cost, **fault}]


def test_growth_is_of_the_least_size_within_each_run() -> None:
    """Absolutely, and beside the floor's."""
    runs: list[growth_report.Run] = [
        {
            growth_report.STREAMS: {
                100: {"floor": _rounds(10 * slow), growth_report.OURS: _rounds(20 * slow)},
                20_000: {"floor": _rounds(12 * slow), growth_report.OURS: _rounds(30 * slow)},
            },
            growth_report.GROUPS: {},
        }
        for slow in (1, 5, 2)
    ]
    ours = growth_report.growth(runs, growth_report.STREAMS, growth_report.OURS, 20_000)
    assert ours == pytest.approx((1.5, 1.5, 1.5))
    line = growth_report.table(growth_report.STREAMS, runs).splitlines()[-1]
    assert [text.strip() for text in line.split("|")][1:7] == [
        "20,000",
        "24.0 (12.0 to 60.0)",
        "1.20",
        "60.0 (30.0 to 150.0)",
        "1.50",
        "1.25",
    ]


def test_kept_ratios_allow_for_the_spread_of_the_runs() -> None:
    """Three standard deviations, and no less than 10 %."""
    runs = [{"paced": [ratio, 9.0, 0.1], "burst": [20.0]} for ratio in (0.4, 0.5, 0.6)]
    kept = quick.kept_ratios(runs)
    assert kept["paced"] == pytest.approx((0.5, 0.6))
    assert kept["burst"] == pytest.approx((20.0, 0.1))


@pytest.mark.parametrize(("now", "status"), [(0.46, 0), (0.44, 1)])
def test_compare_fails_when_a_ratio_is_worse_than_its_tolerance(
    now: float, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ratios and the change are printed."""
    machine = {"cpu": "c", "date": "2026-01-01", "commit": "abc"}
    before = {"machine": machine, "runs": [{"paced": [0.5]}] * 3}
    chosen: Any = type("Chosen", (), {"plan": quick.Plan(1, 1, 1, 1, 1, 1)})
    assert quick.compare(chosen, machine, [{"paced": [now]}], before) == status
    printed = capsys.readouterr().out
    assert f"{now:.3f}" in printed
    assert "0.500" in printed
    assert f"{now / 0.5 - 1:+.1%}" in printed


def test_registry_lets_none_share_a_database_at_the_same_time() -> None:
    """The registries of two workers would see each other's rows."""
    assert registry.together(["none", "sqlite", "postgresql", "postgresql-users"]) == [
        ["none", "sqlite", "postgresql"],
        ["postgresql-users"],
    ]
    assert registry.together(["none"]) == [["none"]]


def test_blocks_of_the_page_are_those_of_the_benchmarks() -> None:
    """A full run must not fail at its very end."""
    page = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text()
    for name in ("latency", "memory", "opening", "growth", "quick"):
        assert page.count(f"<!-- {name}: begin -->") == page.count(f"<!-- {name}: end -->") == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("latency", "--servers django_sse --streams 3 --rounds 1 --seconds 0.1"),
        ("memory", "--servers django_sse --streams 20 --seconds 0.1"),
        ("opening", "--servers django_sse floor --rounds 1 --seconds 0.01"),
        ("growth", "--streams 3 6 --groups 1 3 --spread 6 --rounds 1"),
        ("quick", ""),
    ],
)
def test_benchmarks_run(tmp_path: Path, name: str, arguments: str) -> None:
    """From the command line to the report, with nothing lost."""
    pytest.importorskip("uvloop")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a benchmark needs two cores")
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--output", str(tmp_path)]
    run = subprocess.run(
        [*command, *arguments.split()],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    content = json.loads((tmp_path / f"{name}.json").read_text())
    assert len(content["runs"]) == 1
    assert content["machine"]["python"] in (tmp_path / f"{name}.md").read_text()
