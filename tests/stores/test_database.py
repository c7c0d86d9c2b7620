"""The database store: transactions, numbers after the commit, and many processes at once."""

import contextlib
import datetime
import operator
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.checks import ERROR, WARNING
from django.core.management import call_command
from django.db import DataError, OperationalError, connections, transaction
from django.db.migrations.executor import MigrationExecutor

from django_sse.models import EnlistedEvent, GroupHead, StoredEvent
from django_sse.positions import START, Position, new_mark
from django_sse.stores import database_calls, database_numbering
from django_sse.stores.base import Entry
from django_sse.stores.database import DatabaseStore
from django_sse.stores.database_numbering import now
from django_sse.stores.database_reading import group_key
from tests.stores.databases import environment, make_store

TIMEOUT = 60.0


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest) -> DatabaseStore:
    """A store with empty tables."""
    found = make_store(f"database-{kind}", request)
    assert isinstance(found, DatabaseStore)
    return found


@pytest.fixture
def elsewhere(store: DatabaseStore) -> Iterator[Callable[..., Any]]:
    """Return a function that calls another in a second thread, with a connection of its own."""
    with ThreadPoolExecutor(max_workers=1) as executor:

        def call(function: Callable[..., Any], *args: Any) -> Any:
            return executor.submit(function, *args).result(TIMEOUT)

        yield call
        call(lambda: connections[store.alias].close())


@contextlib.contextmanager
def rolled_back(store: DatabaseStore) -> Iterator[None]:
    """A transaction, or a savepoint, that is not committed."""
    with transaction.atomic(using=store.alias):
        yield
        transaction.set_rollback(True, using=store.alias)


def message(text: object = "") -> dict[str, Any]:
    return {"type": "sse.event", "mark": new_mark(), "text": str(text)}


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.number for entry in entries]


def texts(entries: Any) -> list[str]:
    return [entry.message["text"] for entry in entries]


def history(store: DatabaseStore, group: str = "room") -> list[Entry]:
    """Return all of the group's entries; they are a chain without a hole."""
    entries = list(store.read(group, START, 100_000).entries)
    place = store.positions([group], None)[group]
    for entry in entries:
        assert entry.follows(place)
        place = entry.position
    assert place == store.positions([group])[group]
    return entries


def age(store: DatabaseStore, seconds: float, group: str = "room") -> None:
    """Make what there is of the group older."""
    key = GroupHead.objects.using(store.alias).get(group_json=f'"{group}"').group_key
    by = datetime.timedelta(seconds=seconds)
    rows = StoredEvent.objects.using(store.alias).filter(group_key=key)
    for created_at in set(rows.values_list("created_at", flat=True)):
        rows.filter(created_at=created_at).update(created_at=created_at - by)
    for head in GroupHead.objects.using(store.alias).filter(group_key=key):
        head.updated_at -= by
        head.save(using=store.alias)


# The outbox.


def test_event_has_a_number_after_commit_and_relay(store: DatabaseStore) -> None:
    """Within the transaction it is in no history, and after it not before a relay."""
    with transaction.atomic(using=store.alias):
        store.enlist(["room"], sent := message())
        assert history(store) == []
    assert history(store) == []
    [entry] = store.relay()
    assert entry == Entry("room", 1, sent["mark"], START.mark, sent)
    assert history(store) == [entry]
    assert store.relay() == []


def test_rollback_leaves_no_trace_and_uses_no_number(store: DatabaseStore) -> None:
    """The next event has the next number."""
    store.append(["room"], message("a"))
    with rolled_back(store):
        store.enlist(["room", "hall"], message("b"))
    assert store.relay() == []
    assert not EnlistedEvent.objects.using(store.alias).exists()
    store.append(["room"], message("c"))
    assert texts(history(store)) == ["a", "c"]


def test_rollback_to_a_savepoint_takes_its_events_only(store: DatabaseStore) -> None:
    """What was enlisted before and after it stays."""
    with transaction.atomic(using=store.alias):
        store.enlist(["room"], message("before"))
        with rolled_back(store):
            store.enlist(["room"], message("inside"))
        store.enlist(["room"], message("after"))
    assert texts(store.relay()) == ["before", "after"]
    assert texts(history(store)) == ["before", "after"]


def test_order_within_a_transaction_is_kept(store: DatabaseStore) -> None:
    """Also where groups alternate, and between more events than one batch has."""
    with transaction.atomic(using=store.alias):
        for number in range(1100):
            store.enlist([("room", "hall")[number % 2]], message(number))
    entries = store.relay()
    assert texts(entries) == [str(number) for number in range(1100)]
    assert texts(history(store)) == [str(number) for number in range(0, 1100, 2)]
    assert texts(history(store, "hall")) == [str(number) for number in range(1, 1100, 2)]


def test_event_for_several_groups_has_a_number_in_each(store: DatabaseStore) -> None:
    """And one mark in all of them."""
    store.append(["hall"], message())
    with transaction.atomic(using=store.alias):
        store.enlist(["room", "hall"], sent := message())
    entries = {entry.group: entry for entry in store.relay()}
    assert {group: entry.number for group, entry in entries.items()} == {"room": 1, "hall": 2}
    assert {entry.mark for entry in entries.values()} == {sent["mark"]}


def test_relay_of_some_groups_leaves_the_others(store: DatabaseStore) -> None:
    """As a publisher's own relay does, right after its commit."""
    store.enlist(["room", "hall"], message())
    assert store.relay([]) == []
    assert [entry.group for entry in store.relay(["room", "cellar"])] == ["room"]
    assert [entry.group for entry in store.relay()] == ["hall"]


def test_open_transaction_holds_up_nobody(
    store: DatabaseStore, kind: str, elsewhere: Callable[..., Any]
) -> None:
    """Others publish to its group meanwhile; their numbers come first, without a hole."""
    if kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    store.append(["room"], message("a"))
    with transaction.atomic(using=store.alias):
        store.enlist(["room"], message("open"))

        def publish() -> list[str]:
            appended = store.append(["room"], message("b"))
            for text in ("c", "d", "e"):
                with transaction.atomic(using=store.alias):
                    store.enlist(["room"], message(text))
            store.trim("room")
            store.forget_old()
            return texts(appended) + texts(store.relay())

        assert elsewhere(publish) == ["b", "c", "d", "e"]
    assert texts(store.relay()) == ["open"]
    assert texts(history(store)) == ["a", "b", "c", "d", "e", "open"]


def test_group_names_differ_in_case_accent_length_and_end(store: DatabaseStore) -> None:
    """Each is a group of its own, whatever the database takes for equal."""
    names = ["Room", "room", "room ", "röom", "room\0", "😀", "x" * 5000, "x" * 5001]
    for name in names:
        store.append([name], message(name))
    with transaction.atomic(using=store.alias):
        store.enlist(names, message("all"))
    assert sorted(entry.group for entry in store.relay()) == sorted(names)
    for name in names:
        assert texts(history(store, name)) == [name, "all"]


def test_message_is_given_back_as_it_was(store: DatabaseStore) -> None:
    """Whatever characters it has: also those that no database, or not each, takes."""
    sent = message("\0 😀 \ud800 \u2028") | {"n": None, "f": 0.1, "l": [1, {"a": True}]}
    store.append(["room"], sent)
    store.enlist(["room"], sent)
    store.relay()
    assert [entry.message for entry in history(store)] == [sent, sent]


# Numbers.


def test_threads_that_append_and_relay_at_once_leave_no_hole(store: DatabaseStore) -> None:
    """Each event has one number, in each of its groups, and readers see a chain at any time."""
    store.append(["room", "hall"], message("first"))
    done = threading.Event()

    def publish(name: int) -> None:
        try:
            for number in range(15):
                # In both orders: no two wait for each other.
                groups = ["room", "hall"][:: 1 if name % 2 else -1]
                if number % 3:
                    store.append(groups, message(f"{name}.{number}"))
                else:
                    with transaction.atomic(using=store.alias):
                        store.enlist(groups, message(f"{name}.{number}"))
                    store.relay(groups)
        finally:
            connections[store.alias].close()

    def look() -> int:
        place, looks = START, 0
        try:
            while not done.is_set() or place != store.positions(["room"])["room"]:
                piece = store.read("room", place, 7)
                assert piece.continues(place)
                for entry in piece.entries:
                    assert entry.follows(place)
                    place = entry.position
                looks += 1
            return place.number
        finally:
            connections[store.alias].close()

    with ThreadPoolExecutor(max_workers=4) as executor:
        reader = executor.submit(look)
        publishers = [executor.submit(publish, name) for name in range(3)]
        try:
            for publisher in publishers:
                publisher.result(3 * TIMEOUT)
        finally:
            done.set()
        assert reader.result(TIMEOUT) == 46
    for group in ("room", "hall"):
        entries = history(store, group)
        assert len(entries) == len({entry.mark for entry in entries}) == 46


def test_head_that_another_makes_in_that_moment_is_moved(store: DatabaseStore) -> None:
    """An event that found no head to move takes no number from one that is there by then."""
    connection = connections[store.alias]
    if connection.vendor == "postgresql":
        pytest.skip("One statement has no moments.")
    is_made = False

    def make_head(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal is_made
        answer = execute(sql, params, many, context)
        if sql.lstrip().startswith("UPDATE") and not is_made:
            is_made = True
            GroupHead.objects.using(store.alias).create(
                group_key=group_key("room"),
                group_json='"room"',
                number=0,
                mark=START.mark,
                updated_at=now(),
            )
        return answer

    with connection.execute_wrapper(make_head):
        [entry] = store.append(["room"], message("first"))
    assert is_made
    assert entry.number == 1
    assert numbers(history(store)) == [1]


def test_first_events_of_groups_at_once_leave_no_hole(store: DatabaseStore) -> None:
    """Who finds no head makes one, and adds nothing twice; so do all others at that time."""
    store.append(["room"], message("first"))
    together = threading.Barrier(4)

    def publish(name: int) -> None:
        try:
            for turn in range(5):
                groups = [f"new {turn}.{number}" for number in range(4)]
                together.wait(TIMEOUT)
                store.append(["room", *groups], message(f"{name}.{turn}"))
        finally:
            connections[store.alias].close()

    with ThreadPoolExecutor(max_workers=4) as executor:
        list(executor.map(publish, range(4), timeout=3 * TIMEOUT))
    assert numbers(history(store)) == list(range(1, 22))
    for turn in range(5):
        for number in range(4):
            entries = history(store, f"new {turn}.{number}")
            assert numbers(entries) == [1, 2, 3, 4]


@pytest.mark.postgresql
def test_publishers_to_the_same_groups_do_not_deadlock(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever order they name them in: there is nothing to be tried again."""
    store = make_store("database-postgresql", request)
    assert isinstance(store, DatabaseStore)
    groups = [f"room {number}" for number in range(8)]
    store.append(groups, message())
    monkeypatch.setattr(database_calls, "_ATTEMPTS", 1)
    together = threading.Barrier(3)

    def publish(step: int) -> None:
        try:
            for _ in range(20):
                together.wait(TIMEOUT)
                store.append(groups[::step], message())
        finally:
            connections[store.alias].close()

    with ThreadPoolExecutor(max_workers=3) as executor:
        list(executor.map(publish, [1, -1, 1], timeout=3 * TIMEOUT))
    assert numbers(history(store, groups[0])) == list(range(1, 62))


@contextlib.contextmanager
def options(store: DatabaseStore, **more: Any) -> Iterator[None]:
    """Connections to the store's database have *more* options meanwhile."""
    settings = connections.settings[store.alias]
    usual = settings["OPTIONS"]
    settings["OPTIONS"] = {**usual, **more}
    connections[store.alias].close()
    try:
        yield
    finally:
        connections[store.alias].close()
        settings["OPTIONS"] = usual


@pytest.mark.postgresql
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_stricter_isolation_leaves_no_hole(level: str, request: pytest.FixtureRequest) -> None:
    """Whether Django or the server says so: those who conflict try again."""
    from psycopg import IsolationLevel

    store = make_store("database-postgresql", request)
    assert isinstance(store, DatabaseStore)

    def publish(name: int) -> None:
        try:
            for number in range(8):
                store.append(["room"], message(f"{name}.{number}"))
                with transaction.atomic(using=store.alias):
                    store.enlist(["room"], message(f"{name}.{number}"))
                store.relay(["room"])
        finally:
            connections[store.alias].close()

    server = f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
    django = IsolationLevel[level.upper().replace(" ", "_")]
    with (
        options(store, options=server, isolation_level=django),
        ThreadPoolExecutor(max_workers=2) as executor,
    ):
        list(executor.map(publish, range(2), timeout=3 * TIMEOUT))
        store.relay()
        assert numbers(history(store)) == list(range(1, 33))


@pytest.mark.postgresql
def test_parameters_may_be_bound_by_the_server(request: pytest.FixtureRequest) -> None:
    """As psycopg does with ``server_side_binding``."""
    store = make_store("database-postgresql", request)
    assert isinstance(store, DatabaseStore)
    with options(store, server_side_binding=True):
        store.append(["room"], message("a"))
        store.enlist(["room"], message("b"))
        store.enlist(["room"], message("c"))
        store.relay()
        store.append(["room", "hall"], message("d"))
        assert texts(history(store)) == ["a", "b", "c", "d"]


def test_append_takes_few_statements(
    store: DatabaseStore, kind: str, django_assert_num_queries: Any
) -> None:
    """A single one on PostgreSQL; elsewhere three, and what begins and ends a transaction."""
    store.append(["room"], message())
    count = 1 if kind == "postgresql" else 3 + 2
    with django_assert_num_queries(count, connection=connections[store.alias]):
        store.append(["room"], message())


def start(kind: str, script: str) -> "subprocess.Popen[str]":
    """Run *script* in a process of its own, with the store of the tests."""
    head = (
        "import django; django.setup()\n"
        "from django.db import transaction\n"
        "from django_sse.stores.database import DatabaseStore\n"
        "from tests.stores.test_database import message\n"
        "store = DatabaseStore()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + script],
        env=environment(kind),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_that_relay_at_once_number_each_event_once(
    store: DatabaseStore, kind: str
) -> None:
    """Four of them share the work, whatever they return is one's only."""
    script = (
        "print('ready', flush=True)\n"
        "input()\n"
        "for _ in range(20):\n"
        "    for entry in store.relay():\n"
        "        print(entry.group, entry.number, entry.mark)\n"
    )
    workers = [start(kind, script) for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for number in range(160):
        with transaction.atomic(using=store.alias):
            store.enlist(["room", "hall"], message(number))
        if number == 40:
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("\n")
                worker.stdin.flush()
    outputs = [worker.communicate(timeout=3 * TIMEOUT)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    found = [line for output in outputs for line in output.splitlines()]
    found += [f"{entry.group} {entry.number} {entry.mark}" for entry in store.relay()]
    stored = [
        f"{entry.group} {entry.number} {entry.mark}"
        for group in ("room", "hall")
        for entry in history(store, group)
    ]
    assert len(stored) == 320
    assert sorted(found) == sorted(stored)


def test_event_of_a_process_killed_before_its_relay_is_numbered_once(
    store: DatabaseStore, kind: str
) -> None:
    """What it had committed is not lost; what it had not is."""
    script = (
        "with transaction.atomic(): store.enlist(['room'], message('committed'))\n"
        "with transaction.atomic():\n"
        "    store.enlist(['room'], message('open'))\n"
        "    print('open', flush=True)\n"
        "    input()\n"
    )
    worker = start(kind, script)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "open\n"
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    assert texts(store.relay()) == ["committed"]
    assert store.relay() == []
    assert texts(history(store)) == ["committed"]


# An append while a transaction is open, and one that failed.


def test_append_in_a_transaction_is_no_part_of_it(
    store: DatabaseStore, kind: str, elsewhere: Callable[..., Any]
) -> None:
    """It is there at once, its group is not held up, and a rollback does not take it."""
    if kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with rolled_back(store):
        store.enlist(["room"], message("enlisted"))
        [entry] = store.append(["room"], message("at once"))
        elsewhere(store.append, ["room"], message("another's"))
    assert entry.number == 1
    assert store.relay() == []
    assert texts(history(store)) == ["at once", "another's"]


def test_append_is_committed_where_django_commits_nothing(store: DatabaseStore) -> None:
    """With ``AUTOCOMMIT`` off it still is no part of what is open."""
    connection = connections[store.alias]
    connection.close()
    connection.settings_dict["AUTOCOMMIT"] = False
    try:
        connection.connect()
        store.append(["room"], message("a"))
        connection.rollback()
        store.append(["room", "hall"], message("b"))
    finally:
        connection.settings_dict["AUTOCOMMIT"] = True
        connection.close()
    assert texts(history(store)) == ["a", "b"]


def test_append_beside_a_transaction_that_has_sqlites_file_says_so(
    request: pytest.FixtureRequest,
) -> None:
    """And what to do instead."""
    store = make_store("database-sqlite", request)
    assert isinstance(store, DatabaseStore)
    settings = connections.settings[store.alias]
    usual, settings["OPTIONS"]["timeout"] = settings["OPTIONS"]["timeout"], 0.05
    try:
        with transaction.atomic(using=store.alias):
            store.enlist(["room"], message("enlisted"))
            with pytest.raises(OperationalError, match=r"has SQLite's file: .*on_commit=True"):
                store.append(["room"], message())
    finally:
        settings["OPTIONS"]["timeout"] = usual
    assert texts(store.relay()) == ["enlisted"]


def test_relay_in_a_transaction_gives_numbers_to_what_others_committed(
    store: DatabaseStore, kind: str
) -> None:
    """What it has enlisted itself is not committed yet."""
    if kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    store.enlist(["room"], message("committed"))
    with transaction.atomic(using=store.alias):
        store.enlist(["room"], message("open"))
        assert texts(store.relay()) == ["committed"]
    assert texts(store.relay()) == ["open"]


@pytest.mark.django_db
def test_works_within_a_test_case_of_django() -> None:
    """All is part of the test's transaction, with nested ones, and is undone with it."""
    store = DatabaseStore()
    assert connections["default"].in_atomic_block
    with transaction.atomic():
        store.enlist(["room"], message("a"))
        store.append(["room"], message("b"))
    assert texts(store.relay()) == ["a"]
    assert texts(history(store)) == ["b", "a"]
    store.trim("room")
    store.forget_old()


@pytest.mark.postgresql
def test_append_that_fails_leaves_the_transaction_of_a_test_case_whole(
    request: pytest.FixtureRequest,
) -> None:
    """The test goes on."""
    store = make_store("database-postgresql", request)
    assert isinstance(store, DatabaseStore)
    with rolled_back(store):
        block: Any = connections[store.alias].atomic_blocks[0]
        block._from_testcase = True
        with pytest.raises(DataError):
            store.append(["room"], message() | {"mark": "too long" * 5})
        store.append(["room"], message("after"))
        assert texts(history(store)) == ["after"]


def test_append_again_finds_what_was_added(store: DatabaseStore) -> None:
    """In each group by itself: it is added where it is missing."""
    first, second = message("first"), message("second")
    [there] = store.append(["room"], first)
    store.append(["room"], second)
    entries = store.append(["hall", "room"], first, again=True)
    assert [(entry.group, entry.number) for entry in entries] == [("hall", 1), ("room", 1)]
    assert entries[1] == there
    assert texts(history(store)) == ["first", "second"]


def test_append_again_knows_marks_that_differ_in_case(store: DatabaseStore) -> None:
    """Whatever the database's collation takes for equal."""
    store.append(["room"], message("a") | {"mark": "AAAAAAAA"})
    store.append(["room"], message("b") | {"mark": "aaaaaaaa"}, again=True)
    assert texts(history(store)) == ["a", "b"]


def kill_connections(store: DatabaseStore, kind: str) -> None:
    """Let the server drop this thread's connection, as it does when it is restarted."""
    connection = connections[store.alias]
    with connection.cursor() as cursor:
        own = "pg_backend_pid()" if kind == "postgresql" else "connection_id()"
        cursor.execute(f"SELECT {own}")
        [number] = cursor.fetchone()

    def kill() -> None:
        with connections[store.alias].cursor() as other:
            if kind == "postgresql":
                other.execute("SELECT pg_terminate_backend(%s)", [number])
            else:
                other.execute(f"KILL {number}")
        connections[store.alias].close()

    thread = threading.Thread(target=kill)
    thread.start()
    thread.join(TIMEOUT)


CALLS: dict[str, Callable[[DatabaseStore], Any]] = {
    "append": lambda store: numbers(store.append(["room"], message())) == [2],
    "relay": lambda store: numbers(store.relay()) == [2],
    "read": lambda store: numbers(list(store.read("room", START, 10).entries)) == [1],
    "positions": lambda store: store.positions(["room"])["room"].number == 1,
    "trim": lambda store: not operator.methodcaller("trim", "room")(store),
    "forget_old": lambda store: store.forget_old() == 0,
}


@pytest.mark.parametrize("call", CALLS)
def test_first_call_on_a_dead_connection_succeeds(
    store: DatabaseStore, kind: str, call: str
) -> None:
    """The server was restarted, say: another connection is opened."""
    if kind == "sqlite":
        pytest.skip("SQLite has no server")
    store.append(["room"], message())
    store.enlist(["room"], message())
    kill_connections(store, kind)
    assert CALLS[call](store)


def test_append_whose_commit_was_not_confirmed_is_not_added_twice(
    store: DatabaseStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke after the commit; the next attempt finds the event."""
    if kind == "sqlite":
        pytest.skip("SQLite has no server")
    store.append(["room"], message("first"))
    connection = connections[store.alias]
    commit = connection.commit
    broken: list[None] = []

    def break_once() -> None:
        if not broken:
            broken.append(None)
            raw = connection.connection if kind == "postgresql" else connection.connection._sock
            with socket.socket(fileno=os.dup(raw.fileno())) as copy:
                copy.shutdown(socket.SHUT_RDWR)
            raise OperationalError("No answer.")

    def commit_and_break() -> None:
        commit()
        break_once()

    def execute_and_break(execute: Callable[..., Any], *args: Any) -> Any:
        result = execute(*args)
        if kind == "postgresql":  # A single statement, which is its own transaction.
            break_once()
        return result

    monkeypatch.setattr(connection, "commit", commit_and_break)
    with connection.execute_wrapper(execute_and_break):
        assert numbers(store.append(["room"], message("once"))) == [2]
    assert broken
    assert texts(history(store)) == ["first", "once"]


def test_database_that_is_down_is_an_error(store: DatabaseStore, kind: str) -> None:
    """It is not tried for ever."""
    if kind == "sqlite":
        pytest.skip("SQLite has no server")
    connection = connections[store.alias]
    connection.close()
    port, connection.settings_dict["PORT"] = connection.settings_dict["PORT"], "1"
    try:
        for call in CALLS.values():
            with pytest.raises(OperationalError):
                call(store)
    finally:
        connection.settings_dict["PORT"] = port
    assert store.positions(["room"]) == {"room": START}


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_forked_child_leaves_the_connection_to_its_parent(store: DatabaseStore) -> None:
    """Both go on at the same time; neither reads the other's answers, nor ends its session."""
    store.append(["room"], message("before"))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(int(TIMEOUT))
            for _ in range(20):
                store.append(["room"], message("child"))
            status = 0
        finally:
            os._exit(status)
    for _ in range(20):
        store.append(["room"], message("parent"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(texts(history(store))) == ["before", *["child"] * 20, *["parent"] * 20]


# Reading, and forgetting.


def test_old_events_are_not_read(store: DatabaseStore) -> None:
    """Also before they are deleted; the head stays where it is."""
    old = store.append(["room"], message("old"))[0]
    age(store, 4000)
    assert store.read("room", START, 10) == ([], old.position)
    assert store.positions(["room"], None) == {"room": old.position}
    new = store.append(["room"], message("new"))[0]
    assert store.read("room", START, 10) == ([new], new.position)
    assert (
        store.positions(["room"], None) == store.positions(["room"], 5) == {"room": old.position}
    )


def test_slice_tells_the_head_beyond_its_limit(store: DatabaseStore) -> None:
    """Whether it is full, short or empty."""
    entries = [store.append(["room"], message(number))[0] for number in range(5)]
    head = entries[-1].position
    for limit in range(7):
        assert store.read("room", START, limit) == (entries[:limit], head)
    assert store.read("room", head, 3) == ([], head)
    assert store.read("room", Position(9, "elsewhere"), 3) == ([], head)
    assert store.read("other", head, 3) == ([], START)


def test_positions_of_many_groups_take_few_queries(
    store: DatabaseStore, django_assert_num_queries: Any
) -> None:
    """One for each 500 groups, however far back."""
    last = store.append(["g7"], message())[0]
    last = store.append(["g7"], message())[0]
    groups = [f"g{number}" for number in range(1200)]
    for back in (0, 1, None):
        with django_assert_num_queries(3, connection=connections[store.alias]):
            found = store.positions(groups, back)
        assert list(found) == groups
        expected = {0: last.position, 1: Position(1, last.previous), None: START}[back]
        assert found.pop("g7") == expected
        assert set(found.values()) == {START}


def test_trim_leaves_the_newest(kind: str, request: pytest.FixtureRequest) -> None:
    """What is over the bound goes, in the background; the head stays."""
    store = make_store(f"database-{kind}", request, max_events=20)
    assert isinstance(store, DatabaseStore)
    for number in range(51):
        store.append(["room"], message(number))
    store.trim("room")
    assert numbers(history(store)) == list(range(32, 52))


def test_sweep_forgets_what_is_old_in_all_groups(store: DatabaseStore) -> None:
    """A group of which nothing is left keeps its head for a week; what is enlisted stays."""
    for number in range(700):
        store.enlist(["room"], message(number))
    store.relay()
    store.append(["hall"], message())
    store.enlist(["room"], message("enlisted"))
    long_ago = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    EnlistedEvent.objects.using(store.alias).update(created_at=long_ago)
    age(store, 4000)
    assert store.forget_old() == 700
    assert store.forget_old() == 0
    assert store.positions(["room", "hall"])["room"].number == 700
    assert len(history(store, "hall")) == 1
    assert EnlistedEvent.objects.using(store.alias).count() == 1
    age(store, 8 * 86_400)
    store.forget_old()
    assert store.positions(["room"])["room"] == START
    assert numbers(store.relay()) == [1]


def test_clock_that_is_set_back_makes_no_hole(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is never older than one before it."""
    store.append(["room"], message())
    past = database_numbering.now() - datetime.timedelta(hours=2)
    monkeypatch.setattr(database_numbering, "now", lambda: past)
    store.append(["room"], message())
    monkeypatch.undo()
    assert numbers(history(store)) == [1, 2]


@pytest.mark.parametrize("use_tz", [True, False])
def test_time_is_that_of_the_database_field(settings: Any, use_tz: bool) -> None:
    """Without time zones it is UTC, where no hour comes twice."""
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Tokyo"
    found = database_numbering.now()
    assert (found.tzinfo is not None) == use_tz
    assert abs(found.replace(tzinfo=datetime.UTC) - datetime.datetime.now(datetime.UTC)) < (
        datetime.timedelta(minutes=1)
    )


@pytest.mark.parametrize("use_tz", [True, False])
def test_events_are_as_old_as_they_are(store: DatabaseStore, settings: Any, use_tz: bool) -> None:
    """Whether numbered at once or later, and whatever time zone the project is in."""
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Tokyo"
    store.append(["room"], message())
    store.enlist(["room"], message())
    store.enlist(["room"], message())
    store.relay()
    now = database_numbering.now()
    for row in StoredEvent.objects.using(store.alias):
        assert abs(row.created_at - now) < datetime.timedelta(minutes=1)
    assert numbers(history(store)) == [1, 2, 3]
    age(store, 4000)
    assert history(store) == []


# The app.


@pytest.mark.parametrize("is_old", [True, False])
def test_heads_of_before_the_second_migration_go_on(store: DatabaseStore, is_old: bool) -> None:
    """Those there were, and those that a process of the release before still makes."""
    connection = connections[store.alias]
    executor = MigrationExecutor(connection)
    key = group_key("room")
    if is_old:
        executor.migrate([("django_sse", "0001_stores")])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_sse_group (group_key, group_json, number, mark, updated_at)"
            " VALUES (%s, '\"room\"', 7, 'the mark', '2020-01-01 00:00:00')",
            [key],
        )
    if is_old:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes("django_sse"))
    [entry] = store.append(["room"], message())
    assert entry.follows(Position(7, "the mark"))


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    """The models need no other."""
    call_command("makemigrations", "--check", "--dry-run", "django_sse", verbosity=0)


def test_check_finds_a_database_that_is_not_there() -> None:
    """The store names it by its alias."""
    [found] = DatabaseStore(alias="nowhere").check()
    assert (found.id, found.level) == ("django_sse.E020", ERROR)
    assert "'nowhere'" in found.msg


def test_check_finds_a_database_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its SQL may differ."""
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    [found] = DatabaseStore().check()
    assert (found.id, found.level) == ("django_sse.W020", WARNING)


def test_check_finds_routers_that_keep_the_tables_out(settings: Any) -> None:
    """Then migrate does not make them."""
    assert DatabaseStore().check() == []

    class Router:
        def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
            return False if app_label == "django_sse" else None

    settings.DATABASE_ROUTERS = [Router()]
    [found] = DatabaseStore().check()
    assert (found.id, found.level) == ("django_sse.W021", WARNING)
