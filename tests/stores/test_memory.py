"""The memory store: what it forgets by itself, and that nothing of it waits."""

import asyncio
import threading
import types
from collections.abc import Callable

import pytest

from django_sse import processes
from django_sse.positions import START, new_mark
from django_sse.stores import memory
from django_sse.stores.base import Entry
from django_sse.stores.memory import MemoryStore

HOUR = 3600
DAY = 86_400


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(max_events=10, max_age_seconds=HOUR)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets time pass; it stands still otherwise."""
    time = [1000.0]

    def go_on(seconds: float) -> None:
        time[0] += seconds

    fake = types.SimpleNamespace(monotonic=lambda: time[0])
    monkeypatch.setattr(memory, "time", fake)
    return go_on


def add(store: MemoryStore, *groups: str) -> list[Entry]:
    return store.append(groups, {"mark": new_mark()})


def kept(store: MemoryStore) -> dict[str, int]:
    """Return how many entries are in memory for each group that is known at all."""
    histories = store._histories()
    live = {group: history.size for group, history in histories.live.items()}
    return live | dict.fromkeys(histories.idle, 0)


def test_append_keeps_max_events(store: MemoryStore) -> None:
    """Nobody need trim."""
    for _ in range(25):
        add(store, "a")
    assert kept(store) == {"a": 10}
    assert store.positions(["a"], None)["a"].number == 15


def test_append_forgets_what_is_old(store: MemoryStore, clock: Callable[[float], None]) -> None:
    """Of its own group."""
    add(store, "a")
    clock(HOUR - 1)
    add(store, "a")
    clock(2)
    add(store, "a")
    assert kept(store) == {"a": 2}


def test_groups_that_nobody_publishes_to_are_swept(
    store: MemoryStore, clock: Callable[[float], None]
) -> None:
    """Any append lets their entries go after their age, and their heads a day later."""
    add(store, "a", "b")
    clock(HOUR / 2)
    add(store, "b")
    clock(HOUR / 2 + 1)
    add(store, "c")
    assert kept(store) == {"a": 0, "b": 2, "c": 1}
    clock(DAY - 10)
    add(store, "c")
    assert kept(store) == {"a": 0, "b": 0, "c": 1}
    clock(20)
    add(store, "c")
    assert kept(store) == {"b": 0, "c": 2}
    clock(DAY + HOUR)
    store.trim("c")
    assert kept(store) == {"c": 0}


def test_group_that_is_published_to_again_goes_on(
    store: MemoryStore, clock: Callable[[float], None]
) -> None:
    """Its head was kept, and it is live again."""
    [first] = add(store, "a")
    clock(HOUR + 1)
    add(store, "b")
    [second] = add(store, "a")
    assert second.follows(first.position)
    assert list(store._histories().live) == ["b", "a"]
    assert not store._histories().idle


def test_group_that_is_asked_for_is_not_forgotten(
    store: MemoryStore, clock: Callable[[float], None]
) -> None:
    """An open stream on a silent group is told of no loss."""
    [entry] = add(store, "a")
    for _ in range(4):
        clock(DAY - 1)
        add(store, "b")
        assert store.positions(["a"]) == {"a": entry.position}


def test_group_that_was_forgotten_begins_anew(
    store: MemoryStore, clock: Callable[[float], None]
) -> None:
    """A reader that has waited for so long is told, by the mark."""
    [first] = add(store, "a")
    for seconds in (HOUR + 1, DAY):
        clock(seconds)
        add(store, "b")
    assert store.positions(["a"]) == {"a": START}
    [anew] = add(store, "a")
    assert anew.number == 1
    assert not store.read("a", first.position, 10).continues(first.position)


def test_sweep_spreads_its_work_over_the_calls(
    store: MemoryStore, clock: Callable[[float], None]
) -> None:
    """One call does not stop for all groups that end at once."""
    add(store, *(f"g{number}" for number in range(250)))
    clock(HOUR + 1)
    left = []
    for _ in range(3):
        add(store, "a")
        left.append(sum(kept(store).values()) - kept(store)["a"])
    assert left == [150, 50, 0]


def test_number_of_idle_heads_is_bounded(
    store: MemoryStore, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups that are used once are no leak: the oldest heads go first."""
    monkeypatch.setattr(memory, "_MAX_HEADS", 5)
    add(store, *(f"g{number}" for number in range(20)))
    clock(HOUR + 1)
    add(store, "a")
    assert [group for group in kept(store) if group != "a"] == [f"g{n}" for n in range(15, 20)]


def test_async_forms_use_no_thread(store: MemoryStore) -> None:
    """They do not wait for anything."""

    async def work() -> None:
        message = {"mark": new_mark()}
        [entry] = await store.aappend(["a"], message)
        await store.aread("a", START, 1)
        await store.apositions(["a"])
        await store.atrim("a")
        assert entry.number == 1

    before = threading.active_count()
    asyncio.run(work())
    assert threading.active_count() == before


def test_process_has_histories_of_its_own(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked child has no use for a lock that one of its parent's threads has held."""
    add(store, "a")
    with store._histories().lock:
        monkeypatch.setattr(processes, "_pid", processes.pid() + 1)
        [entry] = add(store, "a")
    assert entry.number == 1
