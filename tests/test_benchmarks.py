"""
The benchmarks work, and their load client sees what goes wrong: a figure is no better than that.

What is run here is far too small for figures.
"""

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import REDIS_URL, require_program, require_redis

events = pytest.importorskip("benchmarks.events", reason="only in a checkout, not in a package")
from benchmarks import bars, fanout_report, pairs, publishing, report  # noqa: E402
from benchmarks.load import LoadClient, Tally  # noqa: E402
from benchmarks.turns import in_turns  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the client uses epoll")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


PLAIN_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def frame(seq: int, line_end: bytes = b"\n", field: bytes = b"event: message") -> bytes:
    data = b"data: " + json.dumps(events.make_event(seq)).encode()
    return line_end.join([field, data, b"", b""])


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


class Peer:
    """A server with the load client's streams, written to by the test."""

    def __init__(self, streams: int, head: bytes = HEAD) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.connections: list[socket.socket] = []

        def accept() -> None:
            for _ in range(streams):
                connection, _ = listening.accept()
                connection.recv(4096)
                connection.sendall(head)
                self.connections.append(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        self.client = LoadClient(listening.getsockname()[1], {})
        try:
            self.client.open(streams)
        except RuntimeError:
            thread.join()
            self.close()
            raise
        finally:
            thread.join()
            listening.close()

    def close(self) -> None:
        self.client.close()
        for connection in self.connections:
            connection.close()

    def read(self, *bodies: bytes, count: int, stream: int = 0) -> Tally:
        """Send *bodies*, each a chunk, to one stream, then say what the client saw."""
        self.client.expect(0, count)
        for body in bodies:
            self.connections[stream].sendall(chunk(body))
        return self.client.read(quiet_seconds=0.05)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer(1)
    yield peer
    peer.close()


def faults(tally: Tally) -> dict[str, int]:
    return {
        name: getattr(tally, name)
        for name in ("deliveries", "lost", "repeated", "reordered", "strays")
        if getattr(tally, name)
    }


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_read_counts_each_event_once(peer: Peer, line_end: bytes) -> None:
    """Whether one write carries one event or several, with either line end."""
    one, rest = frame(0, line_end), frame(1, line_end) + frame(2, line_end)
    assert faults(peer.read(one, rest, count=3)) == {"deliveries": 3}


def test_read_puts_events_together_that_come_in_pieces(peer: Peer) -> None:
    """Chunks and reads may end anywhere."""
    text = chunk(frame(0) + frame(1)[:30]) + chunk(frame(1)[30:] + frame(2))
    peer.client.expect(0, 3)
    for start in range(0, len(text), 7):
        peer.connections[0].sendall(text[start : start + 7])
        peer.client._read_ready(1)
    assert faults(peer.client.read(0.05)) == {"deliveries": 3}


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [
        ([0, 2], {"deliveries": 2, "lost": 1}),
        ([0, 1], {"deliveries": 2, "lost": 1}),
        ([0, 0, 1], {"deliveries": 2, "lost": 1, "repeated": 1}),
        ([0, 2, 1], {"deliveries": 3, "reordered": 1}),
        ([0, 2, 0, 1], {"deliveries": 3, "repeated": 1, "reordered": 1}),
        ([0, 7, 1], {"deliveries": 2, "lost": 1, "strays": 1}),
    ],
)
def test_read_tells_what_went_wrong(peer: Peer, seqs: list[int], expected: dict[str, int]) -> None:
    """A gap is a loss, unless what is missing comes late; what was there already is a repeat."""
    assert faults(peer.read(*map(frame, seqs), count=3)) == expected


def test_read_takes_no_cut_event_for_a_whole_one(peer: Peer) -> None:
    """An event without its end counts for nothing."""
    cut = frame(0)[:-20] + b"\n\n"
    assert faults(peer.read(cut, count=1)) == {"lost": 1}


def test_read_accounts_for_each_stream() -> None:
    """What one stream has got says nothing of another."""
    peer = Peer(2)
    try:
        peer.client.expect(0, 1)
        peer.connections[1].sendall(chunk(frame(0)))
        assert faults(peer.client.read(0.05)) == {"deliveries": 1, "lost": 1}
    finally:
        peer.close()


@pytest.mark.parametrize("count", [1, 5])
def test_read_knows_the_events_of_streams_whose_ids_differ(count: int) -> None:
    """The second stream's bytes have not come before; their data has, and goes the short way."""
    peer = Peer(2)
    try:
        peer.client.expect(0, count)
        for stream, tag in enumerate((b"one", b"another")):
            frames = [frame(seq, field=b"id: %s%d" % (tag, seq)) for seq in range(count)]
            peer.connections[stream].sendall(chunk(b"".join(frames)))
            peer.client._read_ready(1)
            peer.client._known.clear()
        assert faults(peer.client.tally) == {"deliveries": 2 * count}
        assert len(peer.client._known_data) == 1
        body = b"".join(frame(seq, field=b"id: third%d" % seq) for seq in range(count))
        assert peer.client._recognize(chunk(body)) == (0, count)
    finally:
        peer.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda piece: piece[:-1],
        lambda piece: piece + piece,
        lambda piece: b"1" + piece,
        lambda piece: piece.replace(b"id: 1", b"data: 1"),
        lambda piece: piece.replace(b"session.", b"cession.", 1),
        lambda piece: piece.replace(b"\n\nid: 1", b"\n:\nid: 1"),
    ],
)
def test_read_takes_the_short_way_for_nothing_else(peer: Peer, change: Any) -> None:
    """A chunk cut short or of another length, a changed line: these have to be looked at."""
    piece = chunk(frame(0, field=b"id: 0") + frame(1, field=b"id: 1"))
    peer.client.expect(0, 2)
    peer.connections[0].sendall(piece)
    peer.client._read_ready(1)
    assert peer.client._recognize(piece) == (0, 2)
    assert peer.client._recognize(change(piece)) is None


def test_read_takes_a_body_that_is_not_chunked() -> None:
    """All that comes until the connection is closed."""
    peer = Peer(2, PLAIN_HEAD)
    try:
        peer.client.expect(0, 2)
        for connection in peer.connections:
            connection.sendall(frame(0) + frame(1)[:30])
            peer.client._read_ready(1)
            connection.sendall(frame(1)[30:])
            peer.client._read_ready(1)
        assert faults(peer.client.tally) == {"deliveries": 4}
    finally:
        peer.close()


def test_open_deals_out_the_groups() -> None:
    """Each stream asks for its own, in turn."""
    listening = socket.create_server(("127.0.0.1", 0))
    asked = []

    def serve() -> None:
        for _ in range(3):
            connection, _ = listening.accept()
            asked.append(connection.recv(4096).split()[1])
            connection.sendall(HEAD)
            connections.append(connection)

    connections: list[socket.socket] = []
    thread = threading.Thread(target=serve)
    thread.start()
    client = LoadClient(listening.getsockname()[1], {})
    try:
        client.open(3, groups=["g0", "ticks,g1"])
    finally:
        thread.join()
        client.close()
        for each in (*connections, listening):
            each.close()
    assert asked == [b"/events?group=g0", b"/events?group=ticks,g1", b"/events?group=g0"]


def test_read_paced_acknowledges_each_event(peer: Peer) -> None:
    """The next event is sent on the word that the last has come, and after a loss too."""
    acknowledged = []

    def acknowledge() -> None:
        acknowledged.append(peer.client.tally.deliveries)
        if len(acknowledged) == 1:
            return  # Event 1 is lost.
        peer.connections[0].sendall(chunk(frame(len(acknowledged))))

    peer.client.expect(0, 3)
    peer.connections[0].sendall(chunk(frame(0)))
    tally = peer.client.read_paced(0.05, acknowledge)
    assert acknowledged == [1, 1, 2]
    assert faults(tally) == {"deliveries": 2, "lost": 1}


def test_resume_counts_from_the_first_byte() -> None:
    """What a client has missed may come together with the head of the answer."""
    answer = HEAD + chunk(frame(0) + frame(1)) + chunk(frame(1))
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            connections.append(connection)
            connection.recv(4096)
            # The head may be cut anywhere, too.
            connection.sendall(answer[:20])
            connection.sendall(answer[20:])

    connections: list[socket.socket] = []
    thread = threading.Thread(target=serve)
    thread.start()
    client = LoadClient(listening.getsockname()[1], {"Last-Event-ID": "1"})
    try:
        tally = client.resume(2, first=0, events=3, quiet_seconds=0.3)
        assert faults(tally) == {"deliveries": 4, "lost": 2, "repeated": 2}
    finally:
        thread.join()
        client.close()
        for each in (*connections, listening):
            each.close()


def test_open_refuses_what_is_no_event_stream() -> None:
    """A login page must not be measured."""
    with pytest.raises(RuntimeError, match="302"):
        Peer(1, b"HTTP/1.1 302 Found\r\nLocation: /login/\r\n\r\n")


def _result(rate: float, lost: int = 0) -> dict[str, Any]:
    part = {
        "deliveries_per_second": rate,
        "cpu_us_per_delivery": 1e6 / rate,
        "expected": 1000,
        "lost": lost,
        "repeated": 0,
        "reordered": 0,
    }
    return {"paced": part, "burst": part}


def test_summarize_takes_ratios_within_each_run() -> None:
    """A machine that is slow in one run is slow for all servers of it."""
    runs = [
        {"floor": _result(rate), "django_sse": _result(rate / 2, lost=1)}
        for rate in (100_000, 20_000, 120_000)
    ]
    row = fanout_report.summarize(runs)["django_sse"]
    assert row.to_floor == (0.5, 0.5, 0.5)
    assert row.paced == (50_000, 10_000, 60_000)
    assert row.to_peer is None
    assert row.faults == {"lost": 3, "repeated": 0, "reordered": 0}
    assert row.burst_lost == 0.001


def test_fanout_promises_are_held_against_what_was_measured() -> None:
    """A ratio within each run; nothing is demanded of what was not measured."""
    runs = [
        {
            "floor": _result(100_000),
            "django_sse": _result(rate) | {"burst_with_own_ids": _result(900_000)["paced"]},
            "nchan": _result(50_000, lost=9),
        }
        for rate in (60_000, 75_000, 80_000)
    ]
    assert list(map(str, fanout_report.bars(runs))) == [
        "django_sse, paced, times floor: 0.75, at least 0.7, passed",
        "django_sse, paced, times nchan: 1.5, at least 0.75, passed",
        "django_sse, burst, times floor: 0.75, at least 20, FAILED",
        "django_sse, burst with own ids, times floor: 9, at least 8, passed",
        "django_sse, lost, repeated or reordered: 0, at most 0, passed",
    ]


@pytest.mark.parametrize(("value", "status"), [(1.9, 1), (2, 0), (3, 0), (3.1, 1)])
def test_check_tells_whether_every_promise_was_kept(value: float, status: int) -> None:
    """One that was not kept is enough to fail."""
    assert bars.check([bars.Bar("kept", 1, least=1), bars.Bar("it", value, 2, 3)]) == status


def test_in_turns_leaves_out_a_peer_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and the others are measured; each run begins with another one."""
    order = []

    def measure(name: str) -> tuple[dict[str, Any], str]:
        order.append(name)
        if name == "peer" and len(order) > 3:
            raise RuntimeError("no more")
        return {"paced": {}}, "measured"

    runs = in_turns(2, ["floor", "peer", "django_sse"], measure)
    assert order == ["floor", "peer", "django_sse", "peer", "django_sse", "floor"]
    assert runs == [{"floor": {"paced": {}}, "django_sse": {"paced": {}}}] * 2
    assert "peer … left out: no more" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="no more"):
        in_turns(1, ["django_sse"], lambda name: measure("peer"))


def test_cost_of_history_is_a_ratio_within_each_round() -> None:
    """A machine that is slow for a round is slow for both."""
    rounds = [
        {
            "django_sse-no-history": _result(rate)["paced"],
            "django_sse": _result(rate * 0.8)["paced"],
        }
        for rate in (100_000, 10_000, 50_000)
    ]
    cost = pairs.summarize([{"django_sse": rounds}])["django_sse"]
    assert cost.rate == pytest.approx((0.8, 0.8, 0.8))
    assert cost.cpu == pytest.approx((1.25, 1.25, 1.25))
    assert cost.faults == 0


def test_publishing_compares_on_the_same_layer() -> None:
    """The in-memory layer, on which the peer reaches nobody, is held against the core layer's."""
    rates = {"group_send-core": 100, "group_send-pubsub": 200, "redis-pubsub": 1000, "memory": 900}
    run = {name: {"calls_per_second": rate} for name, rate in rates.items()}
    ratios = [
        publishing.to_peer(name, [run], "calls_per_second") for name in ("redis-pubsub", "memory")
    ]
    assert [ratio and ratio.median for ratio in ratios] == [5, 9]


def test_fill_block_replaces_only_its_own_part(tmp_path: Path) -> None:
    """Each benchmark writes its part of the page."""
    page = tmp_path / "page.md"
    block = "<!-- {0}: begin -->\n\n{1}\n\n<!-- {0}: end -->\n"
    page.write_text(block.format("fanout", "old") + block.format("replay", "old"))
    report.fill_block(page, "replay", "new")
    assert page.read_text() == block.format("fanout", "old") + block.format("replay", "new")
    with pytest.raises(ValueError, match="no block"):
        report.fill_block(page, "publishing", "new")


def test_blocks_of_the_page_are_those_of_the_benchmarks() -> None:
    """A full run must not fail at its very end."""
    page = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text()
    for name in ("fanout", "owngroups", "publishing", "replay", "saving", "registry", "workers"):
        assert page.count(f"<!-- {name}: begin -->") == page.count(f"<!-- {name}: end -->") == 1


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        ("fanout", "--servers --pairs django_sse --streams 3 --rounds 1", "history"),
        ("owngroups", "--servers floor django_sse --streams 3 --seconds 0.1", "runs"),
        ("replay", "--servers django_sse --streams 3 --events 60", "runs"),
        ("publishing", "--ways group_send-pubsub redis-pubsub --seconds 0.01", "runs"),
        ("saving", "--ways sqlite-memory", "runs"),
        ("registry", "--ways sqlite sqlite-users --streams 5 --seconds 1", "runs"),
        ("workers", "--cases core-1-few core-1-one pubsub-4-two --streams 20 --check", "runs"),
    ],
)
def test_benchmarks_run(tmp_path: Path, name: str, arguments: str, part: str) -> None:
    """From the command line to the report, with nothing lost."""
    pytest.importorskip("uvloop")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a benchmark needs two cores")
    if name == "publishing":
        require_redis()
    if name == "workers":
        require_program("redis-server")
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--output", str(tmp_path)]
    run = subprocess.run(
        [*command, *arguments.split()],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "BENCH_REDIS_URL": REDIS_URL},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    content = json.loads((tmp_path / f"{name}.json").read_text())
    assert len(content[part]) == 1
    assert content["machine"]["python"] in (tmp_path / f"{name}.md").read_text()
