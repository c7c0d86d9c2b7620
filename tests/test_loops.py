"""The event loop that a process publishes from: that of its streams, or one of its own."""

import asyncio
import contextvars
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from django_sse import loops
from django_sse.metrics import metrics
from tests.clients import TIMEOUT, until

ROOT = Path(__file__).parent.parent

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def _new_background(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test begin as a process does that has published nothing."""
    monkeypatch.setattr(loops, "_background", None)
    monkeypatch.setattr(loops, "_serving", None)
    yield
    if loops._background is not None:
        loops._background.close()
        loops._background._thread.join(TIMEOUT)


@pytest.fixture
def serving() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in another thread that serves streams."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    loop.call_soon_threadsafe(loops.serve, loop)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(TIMEOUT)
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(TIMEOUT)
    loop.close()


async def where() -> tuple[asyncio.AbstractEventLoop, str]:
    return asyncio.get_running_loop(), threading.current_thread().name


def test_run_returns_the_result() -> None:
    """A function with its arguments is run as a coroutine, and waited for."""

    async def add(one: int, other: int) -> int:
        await asyncio.sleep(0)
        return one + other

    assert loops.run(add, 1, 2, timeout=TIMEOUT) == 3


def test_run_raises_what_the_coroutine_raises() -> None:
    """The caller hears of it, and the next run is as good as the first."""

    async def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        loops.run(fail, timeout=TIMEOUT)
    assert loops.run(where, timeout=TIMEOUT)


def test_run_keeps_its_loop_and_its_thread() -> None:
    """One thread with one loop for the process: the layer's connections live with it."""

    def own() -> int:
        return sum(thread.name == "django_sse.publish" for thread in threading.enumerate())

    before = own()
    loop, name = loops.run(where, timeout=TIMEOUT)
    assert name == "django_sse.publish"
    assert {loops.run(where, timeout=TIMEOUT) for _ in range(100)} == {(loop, name)}
    assert own() == before + 1
    assert loops._background is not None
    assert loops._background._thread.daemon  # It does not keep the process from its end.


async def test_enqueue_in_the_tick_in_which_the_queue_becomes_empty() -> None:
    """What comes between the last call's end and the news of it is run, too."""
    loop = asyncio.get_running_loop()
    ran: list[asyncio.AbstractEventLoop] = []

    async def second() -> None:
        ran.append(asyncio.get_running_loop())

    async def first() -> None:
        # It runs after this, the queue's last, and before the end of the queue's task is told.
        loop.call_soon(loops.enqueue, "test", second(), contextvars.Context())

    loops.enqueue("test", first(), contextvars.Context())
    await until(lambda: ran)
    assert ran == [loop]


def test_run_from_many_threads_starts_one_loop() -> None:
    """Whoever comes first makes it; the others wait for that."""
    count = 8
    barrier = threading.Barrier(count)

    def publish() -> asyncio.AbstractEventLoop:
        barrier.wait(TIMEOUT)
        return loops.run(where, timeout=TIMEOUT)[0]

    with ThreadPoolExecutor(count) as executor:
        found = [executor.submit(publish) for _ in range(count)]
    assert len({future.result() for future in found}) == 1


def test_run_gives_up_after_its_timeout() -> None:
    """The caller is not held up; the coroutine is cancelled, so that it does not pile up."""
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        loops.run(hang, timeout=0.5)  # Time enough for it to begin.
    assert cancelled.wait(TIMEOUT)
    assert loops.run(where, timeout=TIMEOUT)


def test_run_uses_the_loop_that_serves_streams(serving: asyncio.AbstractEventLoop) -> None:
    """From a thread of a server, publishing goes through the server's loop."""
    assert loops.is_serving()
    assert loops.run(where, timeout=TIMEOUT)[0] is serving
    assert loops._background is None


def test_run_after_the_server_has_stopped() -> None:
    """A loop that runs no more serves nothing: the process has one of its own again."""
    loop = asyncio.new_event_loop()
    loops.serve(loop)
    assert not loops.is_serving()
    assert loops.run(where, timeout=TIMEOUT)[0] is not loop
    loop.close()


def test_is_serving_is_false_in_a_process_that_never_served() -> None:
    """A management command, a Celery worker."""
    assert not loops.is_serving()


async def test_is_publishing_loop_is_that_of_the_streams() -> None:
    """Where streams are served, that loop publishes."""
    assert not loops.is_publishing_loop()
    loops.serve(asyncio.get_running_loop())
    assert loops.is_publishing_loop()


async def test_is_publishing_loop_is_false_beside_the_one_that_serves(
    serving: asyncio.AbstractEventLoop,
) -> None:
    """Another loop of the process hands over."""
    assert not loops.is_publishing_loop()
    loop, _ = await loops.hand_over(where())
    assert loop is serving


def test_is_publishing_loop_is_true_on_the_background_loop() -> None:
    """What is run there publishes there."""

    async def ask() -> bool:
        return loops.is_publishing_loop()

    assert loops.run(ask, timeout=TIMEOUT)


async def test_hand_over_runs_a_coroutine_on_the_background_loop() -> None:
    """It is awaited from here, and its errors are raised here."""

    async def fail() -> None:
        raise LookupError("x")

    loop, name = await loops.hand_over(where())
    assert loop is not asyncio.get_running_loop()
    assert name == "django_sse.publish"
    with pytest.raises(LookupError, match="x"):
        await loops.hand_over(fail())


async def test_hand_over_that_is_cancelled_cancels_the_coroutine() -> None:
    """A publisher that is cancelled leaves nothing behind on the other loop."""
    began, cancelled = threading.Event(), threading.Event()

    async def hang() -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.create_task(loops.hand_over(hang()))
    assert await asyncio.to_thread(began.wait, TIMEOUT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(cancelled.wait, TIMEOUT)


def test_is_loop_thread_tells_where_nothing_may_wait() -> None:
    """In a coroutine and in a callback it is true, elsewhere not."""
    assert not loops.is_loop_thread()

    async def ask() -> tuple[bool, bool, bool]:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_soon(lambda: answer.set_result(loops.is_loop_thread()))
        elsewhere = await asyncio.to_thread(loops.is_loop_thread)
        return loops.is_loop_thread(), await answer, elsewhere

    assert asyncio.run(ask()) == (True, True, False)


def test_close_ends_the_thread_and_closes_the_loop() -> None:
    """At the end of the process: channels_redis closes its connections with the loop."""
    loop, _ = loops.run(where, timeout=TIMEOUT)
    background = loops._background
    assert background is not None
    background.close()
    background._thread.join(TIMEOUT)
    assert not background._thread.is_alive()
    assert loop.is_closed()
    background.close()


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run *script* in a process of its own, to its end."""
    prelude = """
        import asyncio, os, sys, threading
        from django_sse import loops

        def say(*words):
            print(*words, flush=True)

        async def pid_and_loop():
            return os.getpid(), id(asyncio.get_running_loop())
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_exit_closes_the_loop() -> None:
    """A process that has published ends by itself, and its connections are closed."""
    done = run_script(
        """
        def close():
            say("closed")
            real_close()

        async def get_loop():
            return asyncio.get_running_loop()

        loop = loops.run(get_loop, timeout=30)
        real_close, loop.close = loop.close, close
        say("end")
        """
    )
    assert done.stdout.splitlines() == ["end", "closed"]
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_run_in_a_forked_child_has_a_loop_of_its_own() -> None:
    """A child has its parent's objects but not its thread: a pre-forking worker publishes too."""
    done = run_script(
        """
        parent = loops.run(pid_and_loop, timeout=30)
        pid = os.fork()
        if not pid:
            first = loops.run(pid_and_loop, timeout=30)
            again = loops.run(pid_and_loop, timeout=30)
            say("child", first == again, first[0] == os.getpid(), first != parent)
            sys.exit()
        status = os.waitpid(pid, 0)[1]
        say("parent", status, loops.run(pid_and_loop, timeout=30) == parent)
        """
    )
    assert done.stdout.splitlines() == ["child True True True", "parent 0 True"], done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_a_forked_child_of_a_server_does_not_serve() -> None:
    """The parent's loop seems to run in the child, too; nothing would run there."""
    done = run_script(
        """
        async def main():
            loops.serve(asyncio.get_running_loop())
            say("parent", loops.is_serving())
            pid = os.fork()
            if not pid:
                serving = loops.is_serving()
                done = threading.Thread(target=lambda: say(
                    "child", serving, loops.run(pid_and_loop, timeout=30)[0] == os.getpid()
                ))
                done.start()
                done.join()
                os._exit(0)
            os.waitpid(pid, 0)

        asyncio.run(main())
        """
    )
    assert done.stdout.splitlines() == ["parent True", "child False True"], done.stderr
    assert done.returncode == 0, done.stderr


class Log:
    """Writes down the steps of coroutines that wait in between."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self._done = asyncio.Event()

    async def step(self, name: Any, *, last: bool = False) -> None:
        self.steps.append(("begin", name))
        for _ in range(3):
            await asyncio.sleep(0)
        self.steps.append(("end", name))
        if last:
            self._done.set()

    async def done(self) -> list[Any]:
        await asyncio.wait_for(self._done.wait(), TIMEOUT)
        return self.steps


async def test_enqueue_runs_one_after_the_other() -> None:
    """Events that are published on the loop's thread go out in the order of the calls."""
    log = Log()
    for number in range(3):
        loops.enqueue("calls", log.step(number, last=number == 2), Context())
    assert log.steps == []  # Nothing runs before the caller is done.
    assert await log.done() == [(turn, number) for number in range(3) for turn in ("begin", "end")]


async def test_enqueue_while_another_runs() -> None:
    """It comes behind it; and once all is done, the next one begins anew."""
    log = Log()

    async def first() -> None:
        loops.enqueue("calls", log.step("second", last=True), Context())
        await log.step("first")

    loops.enqueue("calls", first(), Context())
    await log.done()
    assert [name for _, name in log.steps] == ["first", "first", "second", "second"]
    await asyncio.sleep(0)
    another = Log()
    loops.enqueue("calls", another.step("third", last=True), Context())
    await another.done()


async def test_enqueue_from_a_callback() -> None:
    """There is no task then, only the loop."""
    log = Log()
    asyncio.get_running_loop().call_soon(
        lambda: loops.enqueue("calls", log.step("a", last=True), Context())
    )
    await log.done()


async def test_enqueue_runs_in_the_context_that_is_given() -> None:
    """Not in that of the request which happens to publish."""
    seen = []
    log = Log()
    context = Context()
    context.run(variable.set, "given")
    token = variable.set("of the request")

    async def look() -> None:
        seen.append(variable.get())
        await log.step("a", last=True)

    loops.enqueue("calls", look(), context)
    variable.reset(token)
    await log.done()
    assert seen == ["given"]


async def test_enqueue_goes_on_behind_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged; what comes behind, now and later, is run."""
    log = Log()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("a bug")

    loops.enqueue("calls", fail(), Context())
    loops.enqueue("calls", log.step("behind"), Context())
    loops.enqueue("calls", fail(), Context())
    loops.enqueue("calls", log.step("last", last=True), Context())
    await log.done()
    assert caplog.text.count("LookupError: a bug") == 2
    later = Log()
    loops.enqueue("calls", later.step("later", last=True), Context())
    await later.done()


async def test_enqueue_goes_on_after_its_task_was_cancelled() -> None:
    """Whoever cancels all tasks of a loop, and goes on with it, can publish again."""
    log = Log()
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await never

    before = asyncio.all_tasks()
    loops.enqueue("calls", wait(), Context())
    [task] = asyncio.all_tasks() - before
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    loops.enqueue("calls", log.step("again", last=True), Context())
    await log.done()


def test_enqueue_forgets_loops_that_are_closed() -> None:
    """Tests, and commands that call asyncio.run() again and again, leave nothing behind."""

    async def enqueue_one() -> asyncio.AbstractEventLoop:
        log = Log()
        loops.enqueue("calls", log.step("a", last=True), Context())
        await log.done()
        return asyncio.get_running_loop()

    closed = [asyncio.run(enqueue_one()) for _ in range(3)]
    assert [(loop, "calls") in loops._queues for loop in closed] == [False, False, True]


def test_enqueue_needs_a_loop() -> None:
    """It is for the thread of a loop; elsewhere one waits with run()."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        loops.enqueue("calls", None, Context())  # type: ignore[arg-type]


async def test_enqueue_keeps_queues_apart() -> None:
    """What waits in one queue does not hold up another."""
    held, done = asyncio.Event(), asyncio.Event()

    async def finish() -> None:
        done.set()

    loops.enqueue("slow", held.wait(), Context())
    loops.enqueue("quick", finish(), Context())
    async with asyncio.timeout(TIMEOUT):
        await done.wait()
    held.set()


async def test_enqueue_drops_the_oldest_of_a_full_queue(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A queue that nothing empties does not fill the memory: it says what it loses."""
    monkeypatch.setattr(loops, "_MAX_WAITING", 2)
    ran: list[int] = []
    last = asyncio.Event()

    async def run(number: int) -> None:
        ran.append(number)
        if number == 3:
            last.set()

    for number in range(4):
        loops.enqueue("calls", run(number), Context())
    async with asyncio.timeout(TIMEOUT):
        await last.wait()
    assert ran == [2, 3]
    assert metrics.queue_drops == 2
    assert caplog.text.count("one is lost") == 2
