"""Handing out: what befalls one member in its turn costs no other an event."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from django_sse import ServerSentEvent
from django_sse.audiences import Audience
from django_sse.batches import Batch
from django_sse.hub import get_hub
from tests.clients import until
from tests.test_audiences import Reader
from tests.test_readers import Streams, streams

__all__ = ["streams"]  # A fixture.

pytestmark = pytest.mark.asyncio


def receive(group: str, data: str) -> None:
    """Let an event come that is in no history."""
    get_hub().receive({"type": "sse.event", "group": group, "data": data, "mark": "m"})


async def test_many_audiences_whose_clients_have_all_gone(streams: Streams) -> None:
    """Each ends in its turn, which has nothing of another's begin inside of it."""
    pairs = [await streams.open("g", f"user.{number}") for number in range(300)]
    for _ in range(2):  # By the second they are written to as readers.
        receive("g", "x")
        get_hub().gathering.flush()
    for _, client in pairs[1:-1]:
        client.error = ConnectionResetError("gone")
    receive("g", "y")
    get_hub().gathering.flush()
    assert pairs[0][1].data == pairs[-1][1].data == [b"x", b"x", b"y"]
    assert all(stream.reason for stream, _ in pairs[1:-1])


async def test_audience_that_fails(caplog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in one is logged; the others have their events, and the hub goes on."""
    members = [Reader() for _ in range(5)]
    for number, member in enumerate(members):
        await get_hub().join(member, ["g", str(number)])
    hand_out = Audience._hand_out

    def fail(audience: Audience, batch: Batch, now: float) -> None:
        if "2" in audience.groups:
            raise LookupError("a bug")
        hand_out(audience, batch, now)

    with monkeypatch.context() as patched:
        patched.setattr(Audience, "_hand_out", fail)
        receive("g", "x" * 70_000)
    assert "a bug" in caplog.text
    assert [len(member.data) for member in members] == [1, 1, 0, 1, 1]
    receive("g", "y" * 70_000)
    assert [len(member.data) for member in members] == [2, 2, 1, 2, 2]


async def test_reader_that_cannot_be_ended(
    streams: Streams, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug there is logged; the readers behind it have been written, and the others are."""
    pairs = await streams.open_readers(4)
    member = Reader()
    await get_hub().join(member, ["g"])
    broken, client = pairs[1]
    client.error = ConnectionResetError("gone")
    with monkeypatch.context() as patched:
        patched.setattr(type(broken), "end", lambda *args: 1 / 0)
        receive("g", "x" * 70_000)
    assert "division by zero" in caplog.text
    assert [len(client.data) for _, client in pairs] == [2, 1, 2, 2]
    assert len(member.data) == 1


@pytest.fixture
def begin() -> Iterator[Any]:
    """Return a function that begins a task at once, as with an eager task factory."""
    if sys.version_info < (3, 12):
        pytest.skip("There are no eager tasks.")
    tasks = []

    def run(coroutine: Any) -> None:
        loop = asyncio.get_running_loop()
        tasks.append(asyncio.Task(coroutine, loop=loop, eager_start=True))

    yield run
    assert all(task.done() for task in tasks)


@pytest.mark.parametrize("chooser", range(3))
async def test_groups_are_changed_and_events_published_meanwhile(
    streams: Streams, begin: Any, chooser: int
) -> None:
    """By code that is called for one member in its turn: each has all, once, in order."""
    pairs: list[Any] = []
    is_done = asyncio.Event()

    async def change() -> None:
        receive("g", "3" * 70_000)
        await pairs[2][0].unsubscribe("h")
        await pairs[3][0].subscribe("h")
        is_done.set()

    def where(event: ServerSentEvent) -> bool:
        if event.data == "1":
            begin(change())
        return True

    groups = (["g", "h"], ["g", "h"], ["g", "h"], ["g"])
    for number, names in enumerate(groups):
        pairs.append(await streams.open(*names, where=where if number == chooser else None))
    for _ in range(2):  # Those that do not choose are readers then.
        receive("g", "0")
        get_hub().gathering.flush()
    for group, data in (("g", "1"), ("h", "2")):
        receive(group, data)
    get_hub().gathering.flush()
    await is_done.wait()
    await until(lambda: all(client.data[-1][:1] == b"3" for _, client in pairs))
    said = [b"".join(data[:1] for data in client.data) for _, client in pairs]
    assert said == [b"00123", b"00123", b"00123", b"0013"]
    assert pairs[2][0].groups == {"g"}
    assert pairs[3][0].groups == {"g", "h"}


async def test_broken_member_of_many(caplog: Any) -> None:
    """So it is with one that is no stream, and even where it is given up by a cancellation."""

    class Broken(Reader):
        def take(self, batch: Batch) -> None:
            raise asyncio.CancelledError

    members = [Reader(), Broken(), Reader()]
    for member in members:
        await get_hub().join(member, ["g"])
    receive("g", "x")
    get_hub().gathering.flush()
    assert [member.data for member in members] == [[["x"]], [], [["x"]]]
