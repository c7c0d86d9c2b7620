"""What was published in a block, and what a test is told when it was not."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import TestCase, TransactionTestCase

from django_sse import (
    ModelPublisher,
    ServerSentEvent,
    apublish,
    broadcast,
    event_published,
    publish,
    register,
)
from django_sse.model_publishing import unregister
from django_sse.testing import (
    PublishedEvent,
    assert_not_published,
    assert_published,
    capture_events,
    published,
)
from tests.models import Room


class RoomPublisher(ModelPublisher):
    """Tells of rooms; live, so that rows are told of as well."""

    fields = ["slug"]
    groups = ["rooms"]
    live = True


@pytest.fixture
def rooms(transactional_db: None) -> Any:
    register(Room, RoomPublisher)
    yield Room.objects
    unregister(Room, publisher=RoomPublisher)


def told(events: list[PublishedEvent]) -> list[Any]:
    return [(event.groups, event.event, event.data) for event in events]


# What is seen.


def test_capture_sees_publish():
    """Groups, type and data, and the event as it was made: without an id."""
    with capture_events() as events:
        publish(["a", "b"], {"n": 1}, event="placed")
    assert events == [PublishedEvent(("a", "b"), ServerSentEvent({"n": 1}, event="placed"))]
    assert told(events) == [(("a", "b"), "placed", {"n": 1})]
    assert events[0].sent.id is None


def test_capture_ends_with_its_block():
    """What is published before and after it is another's."""
    publish("a", 1)
    capture = capture_events()
    with capture as events:
        publish("a", 2)
    publish("a", 3)
    assert [event.data for event in events] == [2]
    with capture as later:
        publish("a", 4)
    assert [event.data for event in later] == [4]
    assert not event_published.has_listeners(None)


def test_captures_may_be_nested():
    """Each gives what is published while it lasts."""
    with capture_events() as outer:
        publish("a", 1)
        with capture_events() as inner:
            publish("a", 2)
    assert [event.data for event in outer] == [1, 2]
    assert [event.data for event in inner] == [2]


def test_capture_sees_other_threads():
    """A view's code runs in others than the test."""
    with capture_events() as events:
        thread = threading.Thread(target=publish, args=("a", 1))
        thread.start()
        thread.join()
    assert told(events) == [(("a",), None, 1)]


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.history
async def test_capture_sees_apublish(history):
    """With a store and without."""
    with capture_events() as events:
        await apublish("a", 1, history=history)
    assert told(events) == [(("a",), None, 1)]


async def test_capture_sees_what_waits_on_the_event_loop():
    """The async block waits for publish() on the thread of a loop, which does not."""
    async with capture_events() as events:
        publish("a", 1)
        assert events == []
    assert told(events) == [(("a",), None, 1)]


def test_capture_sees_a_loop_that_ends():
    """What asyncio.run() leaves behind goes out on another loop."""

    async def capture() -> list[PublishedEvent]:
        async with capture_events() as events:
            await sync_to_async(publish)("a", 1)
            publish("a", 2)
        return events

    assert [event.data for event in asyncio.run(capture())] == [1, 2]


async def test_block_begins_after_what_was_published_before():
    """What still waits on the event loop is not taken for the block's."""
    publish("a", 1)
    async with capture_events() as events:
        publish("a", 2)
    assert [event.data for event in events] == [2]


def test_capture_sees_broadcasts():
    """They are of no group."""
    with capture_events() as events:
        broadcast("all")
    assert told(events) == [(("",), None, "all")]


def test_capture_sees_models(rooms):
    """What a publisher tells, after the commit; not what live querysets are told of rows by."""
    with capture_events() as events:
        room = rooms.create(slug="lobby")
        room.delete()
    assert [event.event for event in events] == ["room.created", "room.deleted"]
    assert events[0].data == {"slug": "lobby"}
    assert events[0].groups == ("rooms",)


# Assertions.


def test_assertion_gives_what_was_published():
    """What passes can be looked at further."""
    with assert_published("a") as events:
        publish("a", 1)
        publish("b", 2)
    assert [event.data for event in events] == [1, 2]


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"group": "a"},
        {"group": "b", "event": "placed"},
        {"event": "placed", "data": {"n": 1}},
        {"count": 1},
        {"group": "c", "count": 0},
    ],
)
def test_assert_published_passes(expected):
    """What is left out is any."""
    with assert_published(**expected):
        publish(["a", "b"], {"n": 1}, event="placed")


def test_event_without_a_type_is_a_message():
    """As in a browser."""
    with assert_published(event="message"):
        publish("a", 1)


def failure(assertion: Any, act: Any = lambda: None) -> str:
    with pytest.raises(AssertionError) as raised, assertion:
        act()
    return str(raised.value)


def test_failure_says_that_nothing_was_published():
    """The shortest message."""
    message = failure(assert_published("a"))
    assert message == "No event was published to 'a'.\nNothing was published."


def test_failure_shows_what_was_published_instead():
    """Each event with its groups, its type and its data."""

    def act() -> None:
        publish(["a", "b"], {"n": 1}, event="placed")
        publish("b", "x")

    message = failure(assert_published("a", event="paid", data={"n": 1}), act)
    assert message == (
        "No event was published to 'a' with event='paid', data={'n': 1}.\n"
        "Published:\n"
        "    to 'a', 'b': event='placed', data={'n': 1}\n"
        "    to 'b': event=None, data='x'"
    )


def test_failure_says_how_many_there_were():
    """Both numbers, and the events."""

    def act() -> None:
        publish("a", 1)
        publish("a", 2)

    assert failure(assert_published(data=1, count=2), act) == (
        "2 published to any group with data=1 were expected, not 1.\n"
        "Published:\n"
        "    to 'a': event=None, data=1\n"
        "    to 'a': event=None, data=2"
    )


def test_assert_not_published():
    """It fails for what matches only."""
    with assert_not_published("a", event="paid"):
        publish("a", 1)
        publish("b", 1, event="paid")
    with assert_not_published():
        pass
    assert failure(assert_not_published("a"), lambda: publish("a", 1)) == (
        "1 published to 'a', none was expected.\nPublished:\n    to 'a': event=None, data=1"
    )


@pytest.mark.parametrize("assertion", [assert_published("a"), assert_not_published("a")])
def test_error_of_the_block_goes_first(assertion):
    """A test that has failed already says why."""
    with pytest.raises(LookupError), assertion:
        raise LookupError
    assert not event_published.has_listeners(None)


async def test_async_assertion_waits():
    """For what sync code has published on the loop."""
    async with assert_published("a", count=1):
        publish("a", 1)
    with pytest.raises(AssertionError, match="none was expected"):
        async with assert_not_published("a"):
            publish("a", 1)


async def test_failure_hints_at_the_event_loop():
    """A sync block in a coroutine ends too early."""
    message = failure(assert_published("a"), lambda: publish("a", 1))
    assert message.endswith("still being published on this event loop: use `async with`.")
    async with capture_events():
        pass  # Let it go out.


async def test_block_does_not_wait_for_ever(monkeypatch):
    """A receiver that does not return is the test's mistake."""
    monkeypatch.setattr(published, "_SETTLE_SECONDS", 0.05)
    returning = asyncio.Event()

    async def receiver(**kwargs: Any) -> None:
        await returning.wait()

    event_published.connect(receiver)
    with pytest.raises(AssertionError, match=r"has not gone out within 0\.05 s\."):
        async with capture_events():
            publish("a", 1)
    event_published.disconnect(receiver)
    assert not event_published.has_listeners(None)
    returning.set()


# In transactions.


def test_rollback_publishes_nothing(transactional_db):
    """Which is seen by a test that commits."""

    def act() -> None:
        with transaction.atomic():
            publish("a", 1)
            transaction.set_rollback(True)

    assert failure(assert_published("a"), act).endswith("Nothing was published.")


@pytest.mark.django_db
class TestFixtureOfPytestDjango:
    """A test that does not commit, with pytest-django's fixture for what would run then."""

    def test_commit_publishes(self, django_capture_on_commit_callbacks, sse_events):
        """What is published on commit is seen by both."""
        with assert_published("a"), django_capture_on_commit_callbacks(execute=True):
            publish("a", 1)
        assert told(sse_events) == [(("a",), None, 1)]

    def test_failure_hints_at_the_transaction(self, sse_events):
        """Without the fixture nothing goes out."""
        message = failure(assert_published("a"), lambda: publish("a", 1))
        assert "A transaction is open on 'default', and publish() waits" in message
        assert "inside captureOnCommitCallbacks(execute=True)" in message
        assert sse_events == []


class InTestCase(TestCase):
    """Django's own, in which nothing is committed."""

    def test_captured_callbacks_publish(self):
        """They run at the end of the inner block."""
        with assert_published("a", count=1), self.captureOnCommitCallbacks(execute=True):
            publish("a", 1)

    def test_rolled_back_savepoint(self):
        """What is undone is not published."""
        committed = self.captureOnCommitCallbacks(execute=True)
        with assert_not_published(), committed, transaction.atomic():
            publish("a", 1)
            transaction.set_rollback(True)

    def test_model(self):
        """A publisher's event goes the same way."""
        register(Room, RoomPublisher)
        self.addCleanup(unregister, Room, publisher=RoomPublisher)
        committed = self.captureOnCommitCallbacks(execute=True)
        with assert_published("rooms", event="room.created", data={"slug": "lobby"}), committed:
            Room.objects.create(slug="lobby")


class InTransactionTestCase(TransactionTestCase):
    """Django's own that commits."""

    def test_commit_publishes(self):
        """At the end of the transaction, not before."""
        with assert_published("a", count=1) as events, transaction.atomic():
            publish("a", 1)
            assert events == []
