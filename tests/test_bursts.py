"""Many events at once, from one process."""

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from django_sse import apublish, publish, subscribe

BURST = 300


async def test_apublish_from_many_tasks_at_once_reaches_the_reader() -> None:
    """The layer's 100 messages and a Redis pool's 100 connections are no limit to one process."""
    async with subscribe("burst") as events:
        await asyncio.gather(*[apublish("burst", number) for number in range(BURST)])
        received = {(await anext(events)).data for _ in range(BURST)}
    assert received == set(range(BURST))


async def test_publish_in_a_loop_on_the_loops_thread_keeps_order() -> None:
    """Nothing is sent until the loop runs again; then all of it goes, one after the other."""
    async with subscribe("burst") as events:
        for number in range(BURST):
            publish("burst", number, on_commit=False)
        received = [(await anext(events)).data for _ in range(BURST)]
    assert received == list(range(BURST))


async def test_apublish_makes_a_bounded_number_of_calls_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Further ones wait their turn."""
    group_send = InMemoryChannelLayer.group_send
    in_flight, most = 0, 0

    async def count(self: Any, *args: Any) -> None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0)
        await group_send(self, *args)
        in_flight -= 1

    monkeypatch.setattr(InMemoryChannelLayer, "group_send", count)
    await asyncio.gather(*[apublish("burst", number) for number in range(BURST)])
    assert most == 20
