"""Events that wait for a store which is away."""

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from django_sse import ServerSentEvent, apublish, backlog, event_published, publish, subscribe
from django_sse.backlog import Backlog
from django_sse.envelope import Packed, pack
from django_sse.history import Entry
from django_sse.metrics import metrics
from django_sse.positions import START
from django_sse.stores import get_store
from django_sse.stores.base import PartlyAppended
from django_sse.stores.memory import MemoryStore
from tests.clients import TIMEOUT, until

pytestmark = pytest.mark.history


class Taken:
    """What the store has taken at last."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.error: BaseException | None = None

    async def __call__(self, entries: Sequence[Entry], packed: Packed) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.entries += entries

    @property
    def data(self) -> list[str]:
        return [entry.message["data"] for entry in self.entries]


class Server:
    """The server of the store: it may be away."""

    def __init__(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = False
        #: Of several servers: those that are away, by the first letters of their groups.
        self.away: set[str] = set()
        self.loses_answers = False
        self.calls = 0
        for name in ("append", "aappend"):
            monkeypatch.setattr(store, name, self._watched(getattr(store, name)))

    def _watched(self, method: Any) -> Any:
        def refuse(groups: Sequence[str]) -> None:
            self.calls += 1
            if self.is_away or self.away.intersection(group[0] for group in groups):
                raise OSError("away")

        if asyncio.iscoroutinefunction(method):

            async def acall(*args: Any, **kwargs: Any) -> Any:
                refuse(args[0])
                entries = await method(*args, **kwargs)
                if self.loses_answers:
                    raise OSError("no answer")
                return entries

            return acall

        def call(*args: Any, **kwargs: Any) -> Any:
            refuse(args[0])
            return method(*args, **kwargs)

        return call


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """That of the project's store."""
    return Server(get_store(), monkeypatch)


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(backlog, "_MAX_BACKOFF_SECONDS", 0.001)


def packed(data: str) -> Packed:
    return pack(ServerSentEvent(data))


class TestBacklog:
    async def test_what_waits_is_taken_in_order(self, server):
        """When the store is back."""
        taken = Taken()
        waiting = Backlog(taken)
        assert waiting.is_empty()
        server.is_away = True
        for number in range(20):
            waiting.add(["a"], packed(str(number)))
        await until(lambda: server.calls >= 3)
        assert not waiting.is_empty()
        assert taken.data == []
        server.is_away = False
        await until(lambda: len(taken.data) == 20)
        assert taken.data == [str(number) for number in range(20)]
        assert [entry.number for entry in taken.entries] == list(range(1, 21))
        await until(waiting.is_empty)

    async def test_add_tells_of_the_error(self, server, caplog):
        """It is logged and counted; what waits only behind another is not."""
        waiting = Backlog(Taken())
        waiting.add(["a"], packed("x"), OSError("away"))
        waiting.add(["a"], packed("y"))
        assert caplog.messages == ["The store does not take events (OSError: away); they wait."]
        assert metrics.store_errors == 1
        await until(waiting.is_empty)

    async def test_an_attempt_whose_answer_was_lost(self, server):
        """An event that was taken all the same is not taken twice."""
        taken = Taken()
        waiting = Backlog(taken)
        server.loses_answers = True
        waiting.add(["a", "b"], packed("x"))
        await until(lambda: server.calls >= 3)
        server.loses_answers = False
        await until(lambda: taken.data == ["x", "x"])
        store = get_store()
        assert store is not None
        for group in ("a", "b"):
            assert len(store.read(group, START, 10).entries) == 1

    async def test_event_that_is_given_up(self, server, caplog, monkeypatch):
        """After a while it is lost, which is logged and counted; those behind it go on."""
        monkeypatch.setattr(backlog, "_MAX_SECONDS", -1)
        waiting = Backlog(Taken())
        server.is_away = True
        waiting.add(["a"], packed("x"))
        waiting.add(["b"], packed("x"))
        await until(waiting.is_empty)
        assert "An event for 'a' was not published: OSError: away" in caplog.messages
        assert "An event for 'b' was not published: OSError: away" in caplog.messages
        assert metrics.publish_errors == 2

    async def test_what_waits_is_bounded(self, server, caplog, monkeypatch):
        """Beyond that the oldest is lost."""
        monkeypatch.setattr(backlog, "_MAX_EVENTS", 3)
        taken = Taken()
        waiting = Backlog(taken)
        server.is_away = True
        for number in range(5):
            waiting.add([f"group {number}"], packed(str(number)))
        assert metrics.queue_drops == metrics.publish_errors == 2
        assert "An event for 'group 1' was not published: BufferError: over 3" in caplog.text
        server.is_away = False
        await until(lambda: len(taken.data) == 3)
        assert taken.data == ["2", "3", "4"]

    async def test_only_what_is_for_the_same_server_or_group_waits(self, server, monkeypatch):
        """One server of several is away: events of the others' groups pass by."""
        taken = Taken()
        waiting = Backlog(taken)
        monkeypatch.setattr(get_store(), "server_of", lambda group: group[0])
        server.away = {"x"}
        waiting.add(["x1"], packed("1"), OSError("away"))
        assert waiting.is_clear(["y1"])
        for groups, data in (["y1"], "2"), (["x2", "y2"], "3"), (["y2"], "4"):
            waiting.add(groups, packed(data))
        await until(lambda: taken.data == ["2"])
        assert waiting.is_clear(["y1"])
        assert waiting.is_clear(["z"])
        assert not waiting.is_clear(["x3"])
        assert not waiting.is_clear(["y2"])
        calls = server.calls
        await until(lambda: server.calls >= calls + 3)
        assert taken.data == ["2"]
        server.away = set()
        await until(waiting.is_empty)
        assert [(entry.group, entry.message["data"]) for entry in taken.entries] == [
            ("y1", "2"), ("x1", "1"), ("x2", "3"), ("y2", "3"), ("y2", "4"),
        ]  # fmt: skip
        assert waiting.is_clear(["x1", "y2"])

    async def test_what_a_part_of_the_servers_has_taken_waits_for_the_rest(self, monkeypatch):
        """It is announced to their groups, and these need not wait any more."""
        taken = Taken()
        waiting = Backlog(taken)
        store: Any = get_store()
        append, is_away = store.aappend, True
        monkeypatch.setattr(store, "server_of", lambda group: group)

        async def append_to_some(groups: Sequence[str], message: Any, **kwargs: Any) -> Any:
            served = [group for group in groups if group != "x" or not is_away]
            entries = await append(served, message, **kwargs) if served else []
            if entries and len(served) < len(groups):
                raise PartlyAppended(entries, ["x"]) from OSError("away")
            if not served:
                raise OSError("away")
            return entries

        monkeypatch.setattr(store, "aappend", append_to_some)
        waiting.add(["x", "y"], packed("1"))
        await until(lambda: [entry.group for entry in taken.entries] == ["y"])
        assert waiting.is_clear(["y"])
        assert not waiting.is_clear(["x"])
        is_away = False
        await until(waiting.is_empty)
        assert [entry.group for entry in taken.entries] == ["y", "x"]

    async def test_it_goes_on_behind_a_failure_of_its_own(self, server):
        """What comes after an event whose announcement fails is not held up for ever."""
        taken = Taken()
        waiting = Backlog(taken)
        taken.error = LookupError("a bug")
        for data in ("x", "y", "z"):
            waiting.add(["a"], packed(data))
        await until(lambda: taken.data == ["y", "z"])
        waiting.add(["a"], packed("later"))
        await until(lambda: taken.data == ["y", "z", "later"])

    def test_loop_that_ends_while_events_wait(self, server, monkeypatch):
        """Another takes over: what waits is not stuck, nor is all that comes behind it."""
        taken = Taken()
        waiting = Backlog(taken)
        server.is_away = True

        async def add_and_end() -> None:
            waiting.add(["a"], packed("x"))
            await until(lambda: server.calls >= 2)

        asyncio.run(add_and_end())
        assert not waiting.is_empty()
        server.is_away = False

        async def go_on() -> None:
            waiting.add(["a"], packed("y"))
            await until(lambda: len(taken.data) == 2)

        asyncio.run(go_on())
        assert taken.data == ["x", "y"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
    def test_forked_child_begins_with_nothing(self, server):
        """What waits in the parent is the parent's to send."""
        waiting = Backlog(Taken())
        waiting._waiting.append(backlog._Waiting(["a"], packed("x"), 0.0))
        child = os.fork()
        if not child:
            os._exit(0 if waiting.is_empty() and not waiting._waiting else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not waiting.is_empty()


class TestPublish:
    async def test_publish_while_the_store_is_away(self, server):
        """Nothing is raised, and nothing is lost, repeated or reordered."""
        told: list[Any] = []

        async def receiver(groups: Any, event: ServerSentEvent, **kwargs: Any) -> None:
            told.append(event.data)

        event_published.connect(receiver)
        try:
            async with subscribe("a") as events:
                await apublish("a", 0)
                server.is_away = True
                for number in range(1, 4):
                    await apublish("a", number)
                server.is_away = False
                await apublish("a", 4)
                async with asyncio.timeout(TIMEOUT):
                    received = [(await anext(events)).data for _ in range(5)]
            assert received == list(range(5))
            await until(lambda: len(told) == 5)
            assert told == list(range(5))
        finally:
            event_published.disconnect(receiver)
        assert metrics.publish_errors == 0
        assert metrics.store_errors >= 1

    async def test_publish_from_threads_while_the_store_is_away(self, server, sync):
        """So it is from sync code, which does not wait for the store."""
        server.is_away = True

        def publish_all() -> None:
            for number in range(5):
                publish("a", number)

        async with subscribe("a") as events:
            await sync(publish_all)
            thread = threading.Thread(target=publish, args=("a", 5))
            thread.start()
            await asyncio.to_thread(thread.join)
            server.is_away = False
            async with asyncio.timeout(TIMEOUT):
                assert [(await anext(events)).data for _ in range(6)] == list(range(6))

    async def test_store_that_takes_too_long(self, settings, monkeypatch):
        """An async publisher waits no longer than the bound; the event comes later."""
        settings.DJANGO_SSE = {"CHANNEL_LAYER_TIMEOUT_SECONDS": 0.02}
        gate, aappend = asyncio.Event(), MemoryStore.aappend

        async def wait(self: MemoryStore, *args: Any, **kwargs: Any) -> list[Entry]:
            await gate.wait()
            return await aappend(self, *args, **kwargs)

        async with subscribe("a") as events:
            monkeypatch.setattr(MemoryStore, "aappend", wait)
            await apublish("a", "x")
            assert metrics.store_errors >= 1
            gate.set()
            async with asyncio.timeout(TIMEOUT):
                assert (await anext(events)).data == "x"
