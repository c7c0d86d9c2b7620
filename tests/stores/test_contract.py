"""What every store does, as BaseStore's docstrings say it, in both forms of each method."""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_sse.positions import START, Position, new_mark
from django_sse.stores.base import BaseStore, Entry, Slice
from tests.stores.conftest import Form, Kind

TIMEOUT = 120.0
DAY = 86_400
#: What several publish at once, together.
EVENTS = 240


def message(text: object = "") -> dict[str, Any]:
    return {"type": "sse.event", "mark": new_mark(), "data": text}


def fill(form: Form, store: BaseStore, count: int, *groups: str) -> list[Entry]:
    """Append *count* events to each of *groups*; return the entries of the first."""
    return [form.append(store, groups or ("room",), message(n))[0] for n in range(count)]


def pieces(
    read: Callable[[str, Position, int], Slice], group: str, after: Position = START
) -> Iterator[Entry]:
    """Yield what follows *after* by and by; each piece must continue the one before it."""
    while True:
        found = read(group, after, 7)
        assert found.continues(after)
        if not found.entries:
            assert found.head == after
            return
        assert_linked(found.entries)
        yield from found.entries
        after = found.entries[-1].position


def assert_linked(entries: Any) -> None:
    """Check that numbers are contiguous, and that each entry names the one before it."""
    for before, entry in itertools.pairwise(entries):
        assert entry.follows(before.position), f"{before} is not followed by {entry}"


# Order.


def test_group_without_events_is_at_the_start(store: BaseStore, form: Form) -> None:
    """An unknown group has no entries, wherever a reader thinks it is."""
    for back in (0, 5, None):
        assert form.positions(store, ["room"], back) == {"room": START}
    for after in (START, Position(5, new_mark())):
        assert form.read(store, "room", after, 10) == Slice([], START)
    form.trim(store, "room")
    assert form.positions(store, ["room"]) == {"room": START}


def test_numbers_are_contiguous_from_one(store: BaseStore, form: Form) -> None:
    """Each entry names the mark of the one before it; the first names that of the start."""
    entries = fill(form, store, 5)
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[0].follows(START)
    assert_linked(entries)
    assert form.positions(store, ["room"]) == {"room": entries[-1].position}


def test_entry_is_the_message_with_its_place(store: BaseStore, form: Form) -> None:
    """What append() returns is what read() finds."""
    sent = message("hello")
    [entry] = form.append(store, ["room"], sent)
    assert entry == Entry("room", 1, sent["mark"], START.mark, sent)
    assert form.read(store, "room", START, 10) == Slice([entry], entry.position)


def test_read_in_pieces_gives_everything_once(store: BaseStore, form: Form) -> None:
    """A reader goes on from its last entry until it is at the head."""
    entries = fill(form, store, 20)
    found = list(pieces(lambda *args: form.read(store, *args), "room"))
    assert found == entries


def test_read_takes_no_more_than_the_limit(store: BaseStore, form: Form) -> None:
    """The head tells that there is more."""
    entries = fill(form, store, 5)
    found = form.read(store, "room", entries[0].position, 2)
    assert found.entries == entries[1:3]
    assert found.head == entries[-1].position


def test_read_at_the_head_gives_nothing(store: BaseStore, form: Form) -> None:
    """A reader that has all continues."""
    entries = fill(form, store, 3)
    found = form.read(store, "room", entries[-1].position, 10)
    assert found == Slice([], entries[-1].position)
    assert found.continues(entries[-1].position)


@pytest.mark.parametrize("number", [3, 4, 1000, 2**53 + 1])
def test_position_of_another_history_does_not_continue(
    store: BaseStore, form: Form, number: int
) -> None:
    """At the head or beyond it there is nothing, and it is told from what was lost."""
    entries = fill(form, store, 3)
    lost = Position(number, new_mark())
    found = form.read(store, "room", lost, 10)
    assert found == Slice([], entries[-1].position)
    assert not found.continues(lost)


def test_history_that_overtakes_a_lost_position_does_not_continue(
    store: BaseStore, form: Form
) -> None:
    """The next number is there, but it follows another mark."""
    entries = fill(form, store, 5)
    lost = Position(3, new_mark())
    found = form.read(store, "room", lost, 10)
    assert found.entries == entries[3:]
    assert not found.continues(lost)


def test_positions_back_from_the_head(store: BaseStore, form: Form) -> None:
    """After the position, so many entries follow, or as many as there are."""
    entries = fill(form, store, 5)
    assert form.positions(store, ["room"], 0)["room"] == entries[4].position
    assert form.positions(store, ["room"], 1)["room"] == entries[3].position
    assert form.positions(store, ["room"], 4)["room"] == entries[0].position
    for back in (5, 6, 10_000, None):
        assert form.positions(store, ["room"], back)["room"] == START


def test_positions_of_many_groups(store: BaseStore, form: Form) -> None:
    """One call answers for all of them, those that are unknown too, in their order."""
    fill(form, store, 3, "b", "a")
    [last] = form.append(store, ["a"], message())
    found = form.positions(store, ["c", "a", "b"], 2)
    assert list(found) == ["c", "a", "b"]
    assert [position.number for position in found.values()] == [0, 2, 1]
    assert form.positions(store, ["a"])["a"] == last.position
    assert form.positions(store, []) == {}


def test_append_to_several_groups_numbers_each_by_itself(store: BaseStore, form: Form) -> None:
    """One event has one mark, and a place in each of its groups."""
    fill(form, store, 2, "a")
    groups = ["b", "a", *(f"group.{number}" for number in range(20))]
    sent = message("x")
    entries = form.append(store, groups, sent)
    assert [entry.group for entry in entries] == groups
    assert [entry.number for entry in entries] == [1, 3] + [1] * 20
    assert {entry.mark for entry in entries} == {sent["mark"]}
    for entry in entries:
        assert list(pieces(lambda *args: form.read(store, *args), entry.group))[-1] == entry


def test_append_to_no_group_does_nothing(store: BaseStore, form: Form) -> None:
    """There is nothing to number."""
    assert form.append(store, [], message()) == []


# What an attempt has left.


def test_append_again_returns_what_is_there(store: BaseStore, form: Form) -> None:
    """A second attempt finds what the first one has done, even behind later events."""
    first = message("first")
    entries = form.append(store, ["a", "b"], first)
    fill(form, store, 50, "a")
    assert form.append(store, ["a", "b"], first, again=True) == entries
    assert form.positions(store, ["a", "b"])["b"] == entries[1].position
    assert form.positions(store, ["a"])["a"].number == 51


def test_append_again_adds_what_is_missing(store: BaseStore, form: Form) -> None:
    """An attempt may have come to some of its groups, or to none."""
    sent = message("x")
    [there] = form.append(store, ["a"], sent)
    fill(form, store, 1, "b")
    entries = form.append(store, ["b", "a", "c"], sent, again=True)
    assert [(entry.group, entry.number) for entry in entries] == [("b", 2), ("a", 1), ("c", 1)]
    assert entries[1] == there
    assert form.append(store, ["b", "a", "c"], sent, again=True) == entries


# Forgetting.


def test_trim_leaves_max_events(kind: Kind, form: Form) -> None:
    """A tenth more may stay; the oldest that is there still names the one before it."""
    store = kind.make(max_events=40)
    entries = fill(form, store, 100)
    form.trim(store, "room")
    oldest = form.positions(store, ["room"], None)["room"]
    assert 56 <= oldest.number <= 60
    assert oldest == entries[oldest.number - 1].position
    found = list(pieces(lambda *args: form.read(store, *args), "room", oldest))
    assert found == entries[oldest.number :]
    assert form.positions(store, ["room"], 90)["room"] == oldest


def test_reader_behind_a_trimmed_history_gets_the_oldest(kind: Kind, form: Form) -> None:
    """It begins with what there is, and the slice tells that it has missed something."""
    store = kind.make(max_events=10)
    entries = fill(form, store, 150)
    form.trim(store, "room")
    oldest = form.positions(store, ["room"], None)["room"]
    for behind in (START, entries[2].position):
        found = form.read(store, "room", behind, 5)
        assert found.entries == entries[oldest.number : oldest.number + 5]
        assert not found.continues(behind)


@pytest.mark.parametrize("trims", [False, True])
def test_old_events_are_not_read(kind: Kind, form: Form, trims: bool) -> None:
    """What is over the age is as if it were gone, trimmed or not."""
    store = kind.make(max_age_seconds=1000)
    entries = fill(form, store, 37)
    kind.age(store, 600)
    entries += fill(form, store, 5)
    kind.age(store, 600)
    if trims:
        form.trim(store, "room")
    found = form.read(store, "room", START, 100)
    assert found == Slice(entries[37:], entries[-1].position)
    assert not found.continues(START)
    assert form.read(store, "room", entries[40].position, 100).entries == entries[41:]
    for back in (6, 30, 1000, None):
        assert form.positions(store, ["room"], back)["room"] == entries[36].position
    assert form.positions(store, ["room"], 2)["room"] == entries[39].position


@pytest.mark.parametrize("trims", [False, True])
def test_head_outlives_the_events(kind: Kind, form: Form, trims: bool) -> None:
    """A stream that lies idle on the head for a day has missed nothing, and goes on."""
    store = kind.make(max_age_seconds=1000)
    entries = fill(form, store, 3, "room", "hall")
    kind.age(store, DAY)
    if trims:
        form.trim(store, "room")
    head = entries[-1].position
    found = form.read(store, "room", head, 10)
    assert found == Slice([], head)
    assert found.continues(head)
    behind = form.read(store, "room", entries[0].position, 10)
    assert behind == Slice([], head)
    assert not behind.continues(entries[0].position)
    for back in (0, 2, None):
        assert form.positions(store, ["room"], back) == {"room": head}
    [entry] = form.append(store, ["room"], message("next"))
    assert entry.follows(head)
    assert form.read(store, "room", head, 10) == Slice([entry], entry.position)


# Content.


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a:b",
        "{a}:head",
        "order.7",
        "O'Brien; --",
        "日本語 😀",
        "a\u2028b\r\n\0",
        "x" * 2000,
        "%s",
    ],
)
def test_name_of_a_group_may_be_any_string(store: BaseStore, form: Form, name: str) -> None:
    """Each is a history of its own; the empty one is the group of all streams."""
    [other] = form.append(store, [f"{name}!"], message("other"))
    [entry] = form.append(store, [name], message("own"))
    assert entry.group == name
    assert form.read(store, name, START, 10) == Slice([entry], entry.position)
    assert form.read(store, f"{name}!", START, 10) == Slice([other], other.position)
    assert form.positions(store, [name]) == {name: entry.position}


def test_names_that_differ_in_case_are_two(store: BaseStore, form: Form) -> None:
    """So are those that differ in an accent or in a space at the end."""
    names = ["room", "Room", "room ", "röom"]
    assert [entry.number for entry in form.append(store, names, message())] == [1] * 4


@pytest.mark.parametrize(
    "data",
    [
        "",
        "line\nbreak\r\n \u2028 \u2029 \x00 \x1f",
        "日本語 😀 e\u0301 \ufeff",
        '"quotes" \\ {"not": "parsed"} </script>',
        {"nested": [1, -2.5, 1e300, 2**53, True, None, {"": {"ключ": []}}]},
    ],
)
def test_message_comes_back_as_it_was(store: BaseStore, form: Form, data: Any) -> None:
    """Anything that JSON holds."""
    sent = {**message(data), "groups": ["room"], "retry": 5, "key": "k"}
    [entry] = form.append(store, ["room"], sent)
    assert entry.message == sent
    [found] = form.read(store, "room", START, 10).entries
    assert found == entry
    assert json.dumps(found.message) == json.dumps(sent)


def test_large_message(store: BaseStore, form: Form) -> None:
    """256 KB is what an event may have by default."""
    sent = message("é" * 131_072)
    entries = form.append(store, ["a", "b"], sent)
    assert form.read(store, "a", START, 1).entries == entries[:1]
    assert form.append(store, ["a", "b"], sent, again=True) == entries


def test_message_is_nobody_elses(store: BaseStore, form: Form) -> None:
    """Who changes what it sent, or what it read, changes nothing for others."""
    sent = message({"list": [1]})
    entries = form.append(store, ["a", "b"], sent)
    sent["data"]["list"].append(2)
    entries[0].message["data"]["list"].append(3)
    form.read(store, "a", START, 1).entries[0].message["data"]["list"].append(4)
    assert entries[1].message["data"] == {"list": [1]}
    assert form.read(store, "a", START, 1).entries[0].message["data"] == {"list": [1]}


# Many at once.


def read_until(store: BaseStore, group: str, count: int, but: threading.Event) -> list[Entry]:
    """Read from the start as a stream does, until there are *count* entries, without a hole."""
    after = START
    found: list[Entry] = []
    while len(found) < count and not but.is_set():
        piece = store.read(group, after, 50)
        # The head may be further on, but what lies before it is there.
        assert piece.continues(after), f"A hole after {after}: {piece}"
        assert_linked(piece.entries)
        found += piece.entries
        after = found[-1].position if found else START
    return found


class Reader(threading.Thread):
    """A reader of one group, beside its publishers."""

    def __init__(self, store: BaseStore, group: str, count: int) -> None:
        super().__init__(daemon=True)
        self._args = (store, group, count)
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.found: list[Entry] = []
        self.start()

    def run(self) -> None:
        try:
            self.found = read_until(*self._args, self.stop)
        except BaseException as error:
            self.error = error

    def result(self) -> list[Entry]:
        self.join(TIMEOUT)
        self.stop.set()
        self.join(TIMEOUT)
        assert self.error is None, self.error
        return self.found


def test_publishers_at_once_leave_no_hole(kind: Kind) -> None:
    """Four processes, or eight threads, publish to two groups; a reader follows each."""
    store = kind.make()
    publish = _publish_from_processes if store.is_shared else _publish_from_threads
    readers = [Reader(store, group, EVENTS) for group in ("a", "b")]
    try:
        publish(kind, store)
        results = [reader.result() for reader in readers]
    finally:
        for reader in readers:  # Before its connection is closed.
            reader.stop.set()
            reader.join()
    for found in results:
        assert [entry.number for entry in found] == list(range(1, EVENTS + 1))
        # The events of one publisher keep their order.
        for name in {entry.message["from"] for entry in found}:
            order = [entry.message["nth"] for entry in found if entry.message["from"] == name]
            assert order == sorted(order)
    marks = [{entry.mark for entry in reader.found} for reader in readers]
    assert marks[0] == marks[1]
    assert len(marks[0]) == EVENTS


def _publish_from_processes(kind: Kind, store: BaseStore) -> None:
    workers = [kind.start("publish", name, EVENTS // 4, "a", "b") for name in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=TIMEOUT)
        assert worker.returncode == 0


def _publish_from_threads(kind: Kind, store: BaseStore) -> None:
    def publish(name: str) -> None:
        for number in range(EVENTS // 8):
            store.append(["a", "b"], {**message(), "from": name, "nth": number})

    threads = [threading.Thread(target=publish, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)


async def test_calls_of_one_loop_at_once(store: BaseStore) -> None:
    """More calls than connections: all are answered, and the numbers have no hole."""
    count = 20 if "Database" in type(store).__name__ else 300
    [*answers] = await asyncio.gather(
        *(store.aappend(["a", f"b{number}"], message(number)) for number in range(count))
    )
    assert sorted(entry.number for entry, _ in answers) == list(range(1, count + 1))
    heads = await asyncio.gather(*(store.apositions([f"b{n}"]) for n in range(count)))
    assert [next(iter(head.values())).number for head in heads] == [1] * count
    found = await store.aread("a", START, 1000)
    assert [entry.number for entry in found.entries] == list(range(1, count + 1))


def test_loops_one_after_the_other(store: BaseStore) -> None:
    """Each has what it needs, as a sync view's async_to_sync() makes a new one every time."""
    for number in range(1, 6):
        [entry] = asyncio.run(store.aappend(["room"], message()))
        assert entry.number == number
    assert asyncio.run(store.apositions(["room"], 2))["room"].number == 3


def test_loops_at_the_same_time(store: BaseStore) -> None:
    """Loops of several threads, and a thread without one, share the histories."""

    async def work() -> None:
        for _ in range(10):
            await store.aappend(["room"], message())

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        store.append(["room"], message())
    for thread in threads:
        thread.join(TIMEOUT)
    found = store.read("room", START, 100)
    assert_linked(found.entries)
    assert found.head.number == len(found.entries) == 40


def test_store_works_in_a_forked_child(kind: Kind) -> None:
    """The child of a process that has used the store makes connections of its own."""
    is_shared = kind.make().is_shared
    process = kind.start("fork", "room")
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output
    children = ["child"] * 2 if is_shared else []
    assert json.loads(output) == ["before"] * 2 + children + ["parent"] * 2
