"""The few threads of all streams: who borrows one, for how long, and what is closed after."""

import asyncio
import contextvars
import os
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connections, transaction

from django_sse import threads
from django_sse.contexts import (
    StreamContext,
    has_sync_caller,
    let_go_of_request,
    new_context,
    view_context,
)
from django_sse.threads import BorrowingExecutor, keep_one_thread
from tests.clients import TIMEOUT
from tests.models import Room
from tests.services import require_postgresql

ROOT = Path(__file__).parent.parent

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

#: The alias of the database that these tests bring.
ALIAS = "borrowed"


class Pool(threads._Pool):
    """A pool of one test, which knows the threads that it has started."""

    def __init__(self, size: int = 3) -> None:
        super().__init__(size)
        self.started: list[threading.Thread] = []

    def _work(self) -> None:
        self.started.append(threading.current_thread())
        super()._work()

    def join(self) -> None:
        """Tell the threads to end, and wait until they have."""
        with self._changed:
            self._ready.extend([None] * len(self.started))  # type: ignore[list-item]
            self._changed.notify_all()
        for thread in self.started:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
        self._ready.clear()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """A pool of three threads that all streams of the test share."""
    monkeypatch.setattr(BorrowingExecutor, "_pool", pool := Pool())
    yield pool
    pool.join()


@pytest.fixture
def lone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """The same with a single thread."""
    monkeypatch.setattr(BorrowingExecutor, "_pool", pool := Pool(1))
    yield pool
    pool.join()


def here() -> threading.Thread:
    return threading.current_thread()


# Calls, without a database.


def test_submit_returns_the_result(pool: Pool) -> None:
    """A call runs with its arguments on a thread of the pool, and its future has the result."""
    executor = BorrowingExecutor()

    def add(one: int, *, other: int) -> tuple[int, str]:
        return one + other, threading.current_thread().name

    assert executor.submit(add, 1, other=2).result(TIMEOUT) == (3, "django_sse")


@pytest.mark.parametrize("error", [LookupError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_submit_hands_an_error_to_the_caller(lone: Pool, error: BaseException) -> None:
    """Whatever a call raises is raised where it is waited for; the thread goes on."""
    executor = BorrowingExecutor()

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        executor.submit(fail).result(TIMEOUT)
    assert executor.submit(here).result(TIMEOUT).is_alive()
    assert len(lone.started) == 1


def test_calls_of_a_stream_run_in_order_and_one_at_a_time(pool: Pool) -> None:
    """They are one after the other, as in the request's own thread."""
    executor = BorrowingExecutor()
    order: list[int] = []
    running = threading.Semaphore(1)

    def call(number: int) -> None:
        assert running.acquire(blocking=False)
        order.append(number)
        running.release()

    futures = [executor.submit(call, number) for number in range(200)]
    for future in futures:
        future.result(TIMEOUT)
    assert order == list(range(200))


def test_calls_of_a_stream_that_wait_keep_its_thread(pool: Pool) -> None:
    """Calls that were given together run on one thread."""
    executor = BorrowingExecutor()
    gate = threading.Event()
    futures: list[Future[Any]] = [executor.submit(gate.wait, TIMEOUT)]
    futures += [executor.submit(here) for _ in range(5)]
    gate.set()
    assert len({future.result(TIMEOUT) for future in futures[1:]}) == 1


def test_fifty_streams_share_three_threads(pool: Pool) -> None:
    """No more than three calls run at once, however many streams have one."""
    executors = [BorrowingExecutor() for _ in range(50)]
    three = threading.Barrier(3)
    gate = threading.Event()
    lock = threading.Lock()
    running: list[int] = []
    most = 0

    def call(number: int) -> int:
        nonlocal most
        with lock:
            running.append(number)
            most = max(most, len(running))
        if number < 3:
            three.wait(TIMEOUT)  # Three do run at once.
            gate.wait(TIMEOUT)
        with lock:
            running.remove(number)
        return number

    futures = [executor.submit(call, number) for number, executor in enumerate(executors)]
    gate.set()
    assert [future.result(TIMEOUT) for future in futures] == list(range(50))
    assert most == 3
    assert len(pool.started) == 3


def test_streams_are_served_in_the_order_in_which_they_came(lone: Pool) -> None:
    """One that has many calls does not keep its thread from those that came before."""
    order: list[str] = []
    gate = threading.Event()
    first, second, third = (BorrowingExecutor() for _ in range(3))
    futures: list[Future[Any]] = [
        first.submit(gate.wait, TIMEOUT),
        second.submit(order.append, "second"),
        third.submit(order.append, "third"),
    ]
    gate.set()
    for future in futures:
        future.result(TIMEOUT)
    assert order == ["second", "third"]


def test_thread_is_given_back_after_a_call(lone: Pool) -> None:
    """The next stream gets it."""
    one, other = BorrowingExecutor(), BorrowingExecutor()
    assert one.submit(here).result(TIMEOUT) is other.submit(here).result(TIMEOUT)
    assert len(lone.started) == 1


def test_idle_threads_end_and_new_ones_start(pool: Pool) -> None:
    """A process that has no such calls any more has no such threads."""
    executor = BorrowingExecutor()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_IDLE_SECONDS", 0.01)
        first = executor.submit(here).result(TIMEOUT)
        first.join(TIMEOUT)
    assert not first.is_alive()
    second = executor.submit(here).result(TIMEOUT)
    assert second is not first
    assert second.is_alive()


def test_kept_thread_does_not_end(lone: Pool) -> None:
    """A process that serves streams can clean up while its interpreter exits: none starts then."""
    waits = threading.Semaphore(0)
    wait_for = lone._changed.wait_for

    def watched(*args: Any) -> Any:
        waits.release()
        return wait_for(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_IDLE_SECONDS", 0.001)
        patch.setattr(lone._changed, "wait_for", watched)
        keep_one_thread()
        keep_one_thread()
        for _ in range(5):
            assert waits.acquire(timeout=TIMEOUT)
        kept = BorrowingExecutor().submit(here).result(TIMEOUT)
    assert [kept] == lone.started


def test_other_threads_end_beside_a_kept_one(pool: Pool) -> None:
    """One is enough to be kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_IDLE_SECONDS", 0.01)
        keep_one_thread()
        together = threading.Barrier(3)
        for future in [BorrowingExecutor().submit(together.wait, TIMEOUT) for _ in range(3)]:
            future.result(TIMEOUT)
        assert len(pool.started) == 3
        while len(alive := [thread for thread in pool.started if thread.is_alive()]) > 1:
            for thread in alive:
                thread.join(0.01)
    assert BorrowingExecutor().submit(here).result(TIMEOUT) is alive[0]


def test_thread_that_cannot_start_leaves_its_calls_to_the_others(pool: Pool) -> None:
    """An interpreter that exits starts no thread; those that there are go on."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    gate = threading.Event()
    waiting = BorrowingExecutor().submit(gate.wait, TIMEOUT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        behind = BorrowingExecutor().submit(here)
        gate.set()
        assert waiting.result(TIMEOUT)
        assert behind.result(TIMEOUT) in pool.started
    assert len(pool.started) == 1


def test_thread_that_cannot_start_is_an_error_where_there_is_no_other(pool: Pool) -> None:
    """Nobody would ever run the call: its caller has to know."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="at interpreter shutdown"):
            BorrowingExecutor().submit(here)
    assert pool.started == []


def test_cancelled_call_is_not_run(lone: Pool) -> None:
    """One that nobody waits for any more before it begins is left out."""
    gate = threading.Event()
    called: list[str] = []
    executor = BorrowingExecutor()
    running = executor.submit(gate.wait, TIMEOUT)
    cancelled = executor.submit(called.append, "cancelled")
    behind = executor.submit(called.append, "behind")
    assert cancelled.cancel()
    gate.set()
    assert running.result(TIMEOUT)
    behind.result(TIMEOUT)
    assert called == ["behind"]
    with pytest.raises(CancelledError):
        cancelled.result(TIMEOUT)


def test_shutdown_does_nothing(pool: Pool) -> None:
    """asgiref does it when a context ends; this executor has no threads of its own."""
    executor = BorrowingExecutor()
    executor.shutdown()
    executor.shutdown(wait=True, cancel_futures=True)
    assert executor.submit(here).result(TIMEOUT).name == "django_sse"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_forked_child_starts_threads_of_its_own() -> None:
    """The parent's threads are not in the child, though its counts of them are."""
    script = """
        import os, sys, threading
        import django
        from django.conf import settings

        settings.configure()
        django.setup()
        from django_sse.threads import BorrowingExecutor

        def work():
            futures = [BorrowingExecutor().submit(os.getpid) for _ in range(10)]
            return {future.result(10) for future in futures} == {os.getpid()}

        print("parent", work(), flush=True)
        pid = os.fork()
        if not pid:
            print("child", work(), flush=True)
            sys.exit()
        print("status", os.waitpid(pid, 0)[1], "parent", work(), flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["parent True", "child True", "status 0 parent True"], (
        done.stderr
    )


# Calls from coroutines, by way of asgiref.


async def run_in(context: Any, coroutine: Any) -> Any:
    return await asyncio.get_running_loop().create_task(coroutine, context=context)


async def name() -> str:
    return (await sync_to_async(here)()).name


async def test_new_context_sends_sync_calls_to_the_shared_threads(pool: Pool) -> None:
    """Whatever request it is made in, its calls borrow a thread."""
    async with ThreadSensitiveContext():
        assert await run_in(new_context(), name()) == "django_sse"
        assert await name() != "django_sse"


async def test_new_context_is_empty(pool: Pool) -> None:
    """It has nothing of the request but where its sync calls go."""
    context = new_context()
    assert SyncToAsync.thread_sensitive_context in context
    assert all(variable.name != "django_sse" for variable in context)


async def test_two_new_contexts_run_their_calls_side_by_side(pool: Pool) -> None:
    """Each is a stream of its own: one that waits does not hold up another."""
    gate = threading.Event()
    waiting = asyncio.ensure_future(run_in(new_context(), sync_to_async(gate.wait)(TIMEOUT)))
    assert await run_in(new_context(), name()) == "django_sse"
    gate.set()
    assert await waiting


async def test_let_go_of_request_sends_later_calls_to_the_shared_threads(pool: Pool) -> None:
    """The request's own thread ends; what is still called borrows one."""
    async with ThreadSensitiveContext():
        own = await sync_to_async(here)()
        let_go_of_request()
        await asyncio.to_thread(own.join, TIMEOUT)
        assert not own.is_alive()
        assert await name() == "django_sse"
        let_go_of_request()
        assert await name() == "django_sse"
    assert len(pool.started) == 1


async def test_let_go_of_request_lets_a_running_call_end(pool: Pool) -> None:
    """What the request's thread has begun it ends; nothing is lost."""
    gate = threading.Event()
    async with ThreadSensitiveContext():
        running = asyncio.ensure_future(sync_to_async(gate.wait)(TIMEOUT))
        await asyncio.sleep(0)
        let_go_of_request()
        assert await name() == "django_sse"
        gate.set()
        assert await running


async def test_let_go_of_request_before_its_first_call(pool: Pool) -> None:
    """A request that had no thread gets none."""
    async with ThreadSensitiveContext():
        let_go_of_request()
        assert await name() == "django_sse"


async def test_let_go_of_request_without_a_request(pool: Pool) -> None:
    """A test client's view has no context: nothing is changed."""
    assert SyncToAsync.thread_sensitive_context.get(None) is None
    let_go_of_request()
    assert await name() != "django_sse"


async def test_view_context_sends_sync_calls_to_the_shared_threads(pool: Pool) -> None:
    """The code of a view takes the variables of its request with it, but not its thread."""
    async with ThreadSensitiveContext():
        token = variable.set("of the request")
        context = view_context()
        variable.reset(token)
        assert context[variable] == "of the request"
        assert await run_in(context, name()) == "django_sse"
        assert await name() != "django_sse"


async def test_view_context_under_sync_code_that_waits(pool: Pool) -> None:
    """The thread of a sync middleware around the view is gone when the stream goes on."""

    async def view() -> str:
        assert has_sync_caller()
        task_name: str = await run_in(view_context(), name())
        return task_name

    async with ThreadSensitiveContext():
        assert await sync_to_async(async_to_sync(view))() == "django_sse"


async def test_view_context_without_a_request_changes_nothing(pool: Pool) -> None:
    """A test client's view keeps its test's thread, and with it the test's transaction."""
    own = await name()
    assert own != "django_sse"
    assert await run_in(view_context(), name()) == own


async def test_stream_context_ends_as_the_one_of_asgiref(pool: Pool) -> None:
    """Without outlive() the request's thread ends with it."""
    async with StreamContext() as context:
        own = await sync_to_async(here)()
        assert own.name != "django_sse"
    assert not own.is_alive()
    assert context not in SyncToAsync.context_to_thread_executor
    assert SyncToAsync.thread_sensitive_context.get(None) is None
    assert pool.started == []


async def test_stream_context_that_outlives_serves_the_tasks_of_its_request(pool: Pool) -> None:
    """Its own thread ends too, and what a task of the request still calls borrows one."""
    begin = asyncio.Event()

    async def later() -> str:
        await begin.wait()
        return await name()

    async with StreamContext() as context:
        own = await sync_to_async(here)()
        task = asyncio.create_task(later())
        context.outlive()
    assert SyncToAsync.thread_sensitive_context.get(None) is None
    await asyncio.to_thread(own.join, TIMEOUT)
    assert not own.is_alive()
    begin.set()
    assert await task == "django_sse"


async def test_stream_context_inside_another_leaves_everything_to_that(pool: Pool) -> None:
    """An ASGI server or a middleware may have one of its own around the application."""
    async with ThreadSensitiveContext() as outer:
        own = await sync_to_async(here)()
        async with StreamContext() as inner:
            inner.outlive()
            assert await sync_to_async(here)() is own
        assert await sync_to_async(here)() is own
        assert SyncToAsync.thread_sensitive_context.get(None) is outer


async def test_has_sync_caller_in_a_coroutine_of_its_own() -> None:
    """Nobody waits for a task."""
    assert not has_sync_caller()


def test_has_sync_caller_under_async_to_sync() -> None:
    """Sync code that calls a coroutine waits in its thread, with its transaction."""

    async def ask() -> bool:
        return has_sync_caller()

    assert async_to_sync(ask)()
    assert not asyncio.run(ask())


# Calls that use a database.


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any
) -> Iterator[str]:
    """
    The alias of a database with rooms in it, to which each thread opens its own connection.

    It is no test database of Django's: on SQLite all threads would share one, in memory.
    """
    schema = f"threads_{uuid.uuid4().hex}"
    # What is missing here is what Django has filled in for the default database.
    config: dict[str, Any] = {**connections.settings["default"]}
    if request.param == "sqlite":
        config |= {"NAME": str(tmp_path / "rooms.sqlite3")}
    else:
        url = urlsplit(require_postgresql())
        config |= {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.removeprefix("/"),
            "USER": url.username or "",
            "PASSWORD": url.password or "",
            "HOST": url.hostname or "",
            "PORT": str(url.port or ""),
            "OPTIONS": {"options": f"-c search_path={schema}"},
        }
    connections.settings[ALIAS] = config
    connection = connections[ALIAS]
    with django_db_blocker.unblock():
        try:
            if request.param == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"CREATE SCHEMA {schema}")
            with connection.schema_editor() as editor:
                editor.create_model(Room)
            Room.objects.using(ALIAS).bulk_create(Room(slug=f"room-{i}") for i in range(20))
            connection.close()
            yield ALIAS
        finally:
            if request.param == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            connection.close()
            del connections[ALIAS]
            del connections.settings[ALIAS]


def is_connected() -> bool:
    """Tell whether the thread that calls this has a connection open."""
    return connections[ALIAS].connection is not None


def count_rooms() -> tuple[int, threading.Thread]:
    return Room.objects.using(ALIAS).count(), here()


async def test_connection_is_closed_when_the_thread_is_given_back(
    database: str, lone: Pool
) -> None:
    """As after a request: what a stream has read holds no connection while it waits for more."""
    count, thread = await run_in(new_context(), sync_to_async(count_rooms)())
    assert count == 20
    assert thread.name == "django_sse"
    assert not await run_in(new_context(), sync_to_async(is_connected)())
    assert len(lone.started) == 1


async def test_connection_of_a_longer_age_is_kept(
    database: str, lone: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONN_MAX_AGE holds here too; with the thread the connection ends."""
    monkeypatch.setitem(connections.settings[ALIAS], "CONN_MAX_AGE", None)
    await run_in(new_context(), sync_to_async(count_rooms)())
    assert await run_in(new_context(), sync_to_async(is_connected)())

    def connection() -> Any:
        return connections[ALIAS]

    wrapper = await run_in(new_context(), sync_to_async(connection)())
    await asyncio.to_thread(lone.join)
    assert wrapper.connection is None


async def test_thread_survives_a_connection_that_fails_when_it_is_given_back(
    database: str, lone: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged; a thread that is gone would be missing for ever."""

    def fail() -> None:
        raise LookupError("a bug of the driver")

    def break_connection() -> None:
        count_rooms()
        connections[ALIAS].close_if_unusable_or_obsolete = fail  # type: ignore[method-assign]

    await run_in(new_context(), sync_to_async(break_connection)())
    assert (await run_in(new_context(), sync_to_async(count_rooms)()))[0] == 20
    assert len(lone.started) == 1
    assert f"The connection to the database '{ALIAS}' failed." in caplog.text
    assert "a bug of the driver" in caplog.text


async def chunks(of: int = 2) -> AsyncGenerator[tuple[str, threading.Thread]]:
    """Yield each room, and the thread of a sync call made between two chunks."""
    rooms = Room.objects.using(ALIAS).order_by("pk")
    async for room in rooms.aiterator(chunk_size=of):
        yield room.slug, await sync_to_async(here)()


async def test_cursor_that_is_read_in_pieces_keeps_its_thread(database: str, lone: Pool) -> None:
    """Between two chunks of aiterator() the connection must stay, and others need not wait."""
    seen = []
    others = set()

    async def read() -> None:
        async for slug, thread in chunks():
            seen.append((slug, thread))
            # Another stream, while this one is between two chunks: the only thread is taken.
            others.add((await run_in(new_context(), sync_to_async(count_rooms)()))[1])
            assert await sync_to_async(is_connected)()

    await run_in(new_context(), read())
    assert [slug for slug, _ in seen] == [f"room-{i}" for i in range(20)]
    assert len({thread for _, thread in seen}) == 1
    assert not others & {thread for _, thread in seen}


async def test_many_cursors_that_are_read_in_pieces_do_not_starve_each_other(
    database: str, pool: Pool
) -> None:
    """More streams than threads may each be in the middle of a cursor."""
    count = 8
    all_began = asyncio.Barrier(count)

    async def read() -> list[str]:
        slugs = []
        async for slug, _ in chunks():
            slugs.append(slug)
            if len(slugs) == 1:
                await all_began.wait()
        return slugs

    async with asyncio.timeout(20):
        found = await asyncio.gather(*(run_in(new_context(), read()) for _ in range(count)))
    assert found == [[f"room-{i}" for i in range(20)]] * count
    assert await run_in(new_context(), sync_to_async(count_rooms)())


@pytest.mark.parametrize("of", [5, 7, 100])
async def test_thread_is_given_back_after_the_last_chunk(
    database: str, lone: Pool, of: int
) -> None:
    """Then the connection is closed, though the reader still holds what it has read."""
    rooms = Room.objects.using(ALIAS).order_by("pk").aiterator(chunk_size=of)
    context = new_context()
    found = []

    async def read() -> None:
        async for room in rooms:
            found.append(room)

    await run_in(context, read())
    assert len(found) == 20
    # The next stream gets the thread, and no other is started for it.
    assert not await run_in(new_context(), sync_to_async(is_connected)())
    assert len(lone.started) == 1


async def test_cursor_that_is_given_up_gives_its_thread_back(
    database: str, lone: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that ends in the middle of a cursor keeps the connection for a moment only."""
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.01)

    async def read() -> Any:
        iterator = chunks()
        async for _ in iterator:
            break
        await iterator.aclose()

        def connection() -> Any:
            return connections[ALIAS]

        return await sync_to_async(connection)()

    wrapper = await run_in(new_context(), read())
    await asyncio.to_thread(lone.join)
    assert wrapper.connection is None


async def test_cursor_can_be_closed_by_whoever_holds_its_close(database: str, lone: Pool) -> None:
    """It need not be there itself any more: the thread is given back all the same."""

    def close() -> bool:
        close_cursor = connections[ALIAS].chunked_cursor().close
        close_cursor()
        return is_connected()

    assert await run_in(new_context(), sync_to_async(close)())
    assert not await run_in(new_context(), sync_to_async(is_connected)())
    assert len(lone.started) == 1


async def test_open_transaction_keeps_its_thread(database: str, lone: Pool) -> None:
    """Until it is over all calls of the stream run where it was begun."""
    atomic = transaction.atomic(using=ALIAS)

    def create() -> threading.Thread:
        Room.objects.using(ALIAS).create(slug="inside")
        return here()

    async def work() -> list[threading.Thread]:
        await sync_to_async(atomic.__enter__)()
        found = [await sync_to_async(create)()]
        # Another stream has a thread of its own meanwhile, and sees nothing of it.
        count, other = await run_in(new_context(), sync_to_async(count_rooms)())
        assert count == 20
        found += [await sync_to_async(here)() for _ in range(3)]
        assert other not in found
        await sync_to_async(atomic.__exit__)(None, None, None)
        return found

    assert len(set(await run_in(new_context(), work()))) == 1
    assert (await run_in(new_context(), sync_to_async(count_rooms)()))[0] == 21


async def test_let_go_of_request_closes_its_connection(database: str, pool: Pool) -> None:
    """The connection of the request's thread is closed in that thread, and at once."""

    def connect() -> tuple[Any, threading.Thread]:
        count_rooms()
        return connections[ALIAS], here()

    async with ThreadSensitiveContext():
        wrapper, own = await sync_to_async(connect)()
        assert wrapper.connection is not None
        let_go_of_request()
        await asyncio.to_thread(own.join, TIMEOUT)
        assert wrapper.connection is None
        count, thread = await sync_to_async(count_rooms)()
        assert (count, thread.name) == (20, "django_sse")


async def test_let_go_of_request_leaves_a_connection_in_a_transaction(
    database: str, pool: Pool
) -> None:
    """That of a test, or of whoever else has begun one, is theirs to end."""
    atomic = transaction.atomic(using=ALIAS)

    def begin() -> tuple[Any, threading.Thread]:
        atomic.__enter__()
        return connections[ALIAS], here()

    async with ThreadSensitiveContext():
        wrapper, own = await sync_to_async(begin)()
        let_go_of_request()
        await asyncio.to_thread(own.join, TIMEOUT)
        assert wrapper.in_atomic_block
        assert wrapper.connection is not None
    wrapper.inc_thread_sharing()
    wrapper.in_atomic_block = False
    await asyncio.to_thread(wrapper.close)
