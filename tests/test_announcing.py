"""Announcements: what a store has taken, on its way to the channel layer."""

import asyncio
import os
from typing import Any

import pytest

from django_sse import announcing, bundling
from django_sse.announcing import Announcements, announce
from django_sse.envelope import Delivery, unpack_all
from django_sse.history import Entry
from tests.clients import TIMEOUT, until


def entry(number: int, group: str = "g", data: str = "x") -> Entry:
    """Return an entry of a group's history."""
    message = {"type": "sse.event", "mark": f"mark{number:04}", "data": data}
    return Entry(group, number, message["mark"], f"mark{number - 1:04}", message)


class Sent(list[dict[str, Any]]):
    """The messages that the layer was given; it takes none while it is held."""

    is_held = False


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    messages = Sent()

    async def send(given: list[dict[str, Any]]) -> list[str]:
        await until(lambda: not messages.is_held)
        messages.extend(given)
        return [message["group"] for message in given]

    monkeypatch.setattr(bundling, "send", send)
    return messages


def deliveries(messages: list[dict[str, Any]]) -> list[Delivery]:
    return [delivery for message in messages for delivery in unpack_all(message)]


async def test_one_entry_is_one_plain_message(sent: Sent) -> None:
    """It carries its place in the history."""
    await announce([entry(7)])
    [message] = sent
    assert message["group"] == "g"
    assert (message["number"], message["previous"]) == (7, "mark0006")
    assert "events" not in message


async def test_entries_that_come_faster_share_messages(sent: Sent) -> None:
    """Each once, in the order of its group, in far fewer messages."""
    announcements = Announcements()
    sent.is_held = True
    for number in range(1, 501):
        announcements.add([entry(number), entry(number, "other")])
    sent.is_held = False
    await until(lambda: len(deliveries(sent)) == 1000)
    for group in ("g", "other"):
        numbers = [one.number for one in deliveries(sent) if one.group == group]
        assert numbers == list(range(1, 501))
    assert len(sent) <= 22  # The first by itself, then a hundred events for two groups at once.


async def test_joined_message_has_a_bound(sent: Sent) -> None:
    """Large events go by few, for layers have bounds of their own."""
    await announce([entry(number, data="x" * 30_000) for number in range(1, 8)])
    assert [len(unpack_all(message)) for message in sent] == [2, 2, 2, 1]
    assert [one.number for one in deliveries(sent)] == list(range(1, 8))


async def test_what_waits_is_bounded(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that hangs does not fill the memory: the oldest are left to the store."""
    monkeypatch.setattr(announcing, "_MAX_WAITING", 10)
    announcements = Announcements()
    announcements.add(entry(number) for number in range(1, 101))
    await until(lambda: len(deliveries(sent)) == 10)
    assert [one.number for one in deliveries(sent)] == list(range(91, 101))


async def test_settled_waits_for_what_was_added(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for what is added later."""
    monkeypatch.setattr(announcing, "_SETTLE_SECONDS", TIMEOUT)
    announcements = Announcements()
    await announcements.settled()
    for number in range(1, 251):
        announcements.add([entry(number)])
    await announcements.settled()
    assert len(deliveries(sent)) == 250


def test_loop_that_ends_loses_nothing(sent: Sent) -> None:
    """What code under asyncio.run() leaves behind is announced all the same."""
    announcements = Announcements()

    async def main() -> None:
        announcements.add(entry(number) for number in range(1, 301))
        await until(lambda: sent)

    asyncio.run(main())

    async def rest() -> None:
        await until(lambda: len(deliveries(sent)) >= 300)

    asyncio.run(rest())
    assert {one.number for one in deliveries(sent)} == set(range(1, 301))


def test_child_does_not_announce_for_its_parent() -> None:
    """What waited at the fork is announced once."""
    announcements = Announcements()
    announcements._waiting.append(entry(1))
    pid = os.fork()
    if not pid:
        announcements._reset_if_forked()
        os._exit(len(announcements._waiting))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
