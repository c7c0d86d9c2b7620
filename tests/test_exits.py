"""Learning that the process is about to end, whatever it is that ends it."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from django_sse import exits
from tests.clients import TIMEOUT

ROOT = Path(__file__).parent.parent

Handler = Callable[[int, FrameType | None], Any]


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """Put the process's handlers, and the watches, back as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    watches = dict(exits._watches)
    exits._watches.clear()
    yield
    for watched in list(exits._watches.values()):
        watched.stop()
    exits._watches.update(watches)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def server() -> list[int]:
    """A server's handler of SIGTERM: the signals that it has got."""
    got: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, stack: got.append(number))
    return got


class Callbacks:
    """Counts the calls of a watch's callback."""

    def __init__(self) -> None:
        self.count = 0
        self._called = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._called.set()

    async def called(self) -> None:
        await asyncio.wait_for(self._called.wait(), TIMEOUT)
        self._called.clear()


async def turns() -> None:
    """Let the loop call what is scheduled."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_watch_calls_back_before_the_server_does_its_own(server: list[int]) -> None:
    """The server's handler runs as ever, once the callback is on its way."""
    callbacks = Callbacks()
    stop = exits.watch(asyncio.get_running_loop(), callbacks)
    signal.raise_signal(signal.SIGTERM)
    assert server == [signal.SIGTERM]
    assert callbacks.count == 0  # Not in the handler: on the loop.
    await callbacks.called()
    stop()


async def test_watch_calls_back_for_either_signal(server: list[int]) -> None:
    """Ctrl-C ends a server as well."""
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, stack: interrupts.append(number))
    callbacks = Callbacks()
    stop = exits.watch(asyncio.get_running_loop(), callbacks)
    signal.raise_signal(signal.SIGINT)
    await callbacks.called()
    signal.raise_signal(signal.SIGTERM)
    await callbacks.called()
    assert interrupts == [signal.SIGINT]
    assert server == [signal.SIGTERM]
    stop()


async def test_watch_lets_an_error_of_the_servers_handler_pass() -> None:
    """Some servers leave by an exception: it is theirs."""

    def leave(number: int, stack: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    callbacks = Callbacks()
    stop = exits.watch(asyncio.get_running_loop(), callbacks)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    await callbacks.called()
    stop()


async def test_watch_leaves_a_default_or_ignored_signal_alone() -> None:
    """The system's own way to end a process is at once; a signal that is ignored stays so."""
    for untouched in (signal.SIG_DFL, signal.SIG_IGN):
        signal.signal(signal.SIGTERM, untouched)
        stop = exits.watch(asyncio.get_running_loop(), Callbacks())
        assert signal.getsignal(signal.SIGTERM) is untouched
        stop()
        assert signal.getsignal(signal.SIGTERM) is untouched


async def test_stop_restores_the_servers_handlers() -> None:
    """Nothing of the watch is left, and the callback is not called any more."""

    def of_server(number: int, stack: FrameType | None) -> None:
        pass

    signal.signal(signal.SIGTERM, of_server)
    before = signal.getsignal(signal.SIGINT)
    callbacks = Callbacks()
    stop = exits.watch(asyncio.get_running_loop(), callbacks)
    assert signal.getsignal(signal.SIGTERM) is not of_server
    stop()
    assert signal.getsignal(signal.SIGTERM) is of_server
    assert signal.getsignal(signal.SIGINT) is before
    stop()
    signal.raise_signal(signal.SIGTERM)
    await turns()
    assert callbacks.count == 0


async def test_stop_of_one_of_two_watches(server: list[int]) -> None:
    """The other loop's watch goes on; after the last one the handler is the server's."""
    of_server = signal.getsignal(signal.SIGTERM)
    other = asyncio.new_event_loop()
    callbacks, others = Callbacks(), Callbacks()
    stop = exits.watch(asyncio.get_running_loop(), callbacks)
    stop_other = exits.watch(other, others)
    signal.raise_signal(signal.SIGTERM)
    await callbacks.called()
    other.call_soon(other.stop)
    await asyncio.to_thread(other.run_forever)
    assert others.count == 1
    stop()
    signal.raise_signal(signal.SIGTERM)
    await turns()
    assert callbacks.count == 1
    assert len(server) == 2
    stop_other()
    assert signal.getsignal(signal.SIGTERM) is of_server
    other.close()


async def test_a_signal_with_a_closed_loop_reaches_the_server(server: list[int]) -> None:
    """A loop that was closed without a stop does not keep the signal from its handler."""
    other = asyncio.new_event_loop()
    stop = exits.watch(other, Callbacks())
    other.close()
    signal.raise_signal(signal.SIGTERM)
    assert server == [signal.SIGTERM]
    stop()


def in_front_of(previous: Any, got: list[str]) -> Handler:
    """Return a handler as another library may put it in front of the one that was there."""

    def handler(number: int, stack: FrameType | None) -> Any:
        got.append("in front")
        return previous(number, stack)

    return handler


async def test_a_handler_in_front_still_reaches_the_server_after_stop(server: list[int]) -> None:
    """Whoever kept our handler to call it later gets through to the server's."""
    got: list[str] = []
    stop = exits.watch(asyncio.get_running_loop(), Callbacks())
    in_front = in_front_of(signal.getsignal(signal.SIGTERM), got)
    signal.signal(signal.SIGTERM, in_front)
    stop()
    assert signal.getsignal(signal.SIGTERM) is in_front
    signal.raise_signal(signal.SIGTERM)
    assert got == ["in front"]
    assert server == [signal.SIGTERM]


async def test_a_second_watch_behind_a_handler_in_front(server: list[int]) -> None:
    """Each handler is called, each once: a chain, not a circle."""
    got: list[str] = []
    other = asyncio.new_event_loop()
    callbacks = Callbacks()
    stop = exits.watch(asyncio.get_running_loop(), callbacks)
    in_front = in_front_of(signal.getsignal(signal.SIGTERM), got)
    signal.signal(signal.SIGTERM, in_front)
    stop_other = exits.watch(other, Callbacks())
    signal.raise_signal(signal.SIGTERM)
    await callbacks.called()
    assert got == ["in front"]
    assert server == [signal.SIGTERM]
    stop_other()
    stop()
    assert signal.getsignal(signal.SIGTERM) is in_front
    other.close()


async def test_a_watch_after_the_server_has_put_its_handlers_back(server: list[int]) -> None:
    """A second server in one process is watched as the first was."""
    of_server = signal.getsignal(signal.SIGTERM)
    first = exits.watch(asyncio.get_running_loop(), Callbacks())
    signal.signal(signal.SIGTERM, of_server)
    first()
    callbacks = Callbacks()
    second = exits.watch(asyncio.get_running_loop(), callbacks)
    signal.raise_signal(signal.SIGTERM)
    await callbacks.called()
    assert server == [signal.SIGTERM]
    second()
    assert signal.getsignal(signal.SIGTERM) is of_server


async def test_watch_in_another_thread_leaves_the_signals_alone(server: list[int]) -> None:
    """Python lets only the main thread set handlers: runserver's reloader has another."""
    of_server = signal.getsignal(signal.SIGTERM)

    def elsewhere() -> None:
        loop = asyncio.new_event_loop()
        exits.watch(loop, lambda: None)()
        loop.close()

    await asyncio.to_thread(elsewhere)
    assert signal.getsignal(signal.SIGTERM) is of_server


async def test_stop_in_another_thread_leaves_the_handler(server: list[int]) -> None:
    """It goes on to the server's."""
    stop = exits.watch(asyncio.get_running_loop(), Callbacks())
    await asyncio.to_thread(stop)
    signal.raise_signal(signal.SIGTERM)
    assert server == [signal.SIGTERM]


async def test_watch_calls_back_when_hypercorn_is_told() -> None:
    """A hypercorn worker gets no signal: its task that waits for the shutdown ends."""
    told = asyncio.Event()

    async def raise_shutdown() -> None:
        await told.wait()

    async def other() -> None:
        await told.wait()

    raise_shutdown.__qualname__ = "raise_shutdown"
    tasks = [asyncio.create_task(raise_shutdown()), asyncio.create_task(other())]
    callbacks = Callbacks()
    stop = exits.watch(asyncio.get_running_loop(), callbacks)
    await turns()
    assert callbacks.count == 0
    told.set()
    await callbacks.called()
    await asyncio.wait(tasks)
    assert callbacks.count == 1
    stop()


async def test_watch_where_the_tasks_cannot_be_listed(
    server: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside granian's own tasks asyncio lists none; the signals are watched all the same."""

    def refuse(loop: asyncio.AbstractEventLoop) -> None:
        raise RuntimeError("not an asyncio task")

    callbacks = Callbacks()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "all_tasks", refuse)
        stop = exits.watch(asyncio.get_running_loop(), callbacks)
    signal.raise_signal(signal.SIGTERM)
    await callbacks.called()
    assert server == [signal.SIGTERM]
    stop()


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run *script* in a process of its own, to its end."""
    prelude = """
        import asyncio, os, signal, sys, threading, time
        from django_sse import exits

        def say(*words):
            print(*words, flush=True)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_exit_of_a_process_whose_loop_is_in_a_daemon_thread() -> None:
    """The callback runs there, and the process waits until all has been cleaned up."""
    done = run_script(
        """
        loop = asyncio.new_event_loop()

        def callback():
            say("called in the loop's thread:", threading.current_thread() is thread)
            loop.call_later(0.05, clean_up)

        def clean_up():
            say("cleaned up")
            stop()

        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        stop = exits.watch(loop, callback)
        say("end")
        """
    )
    assert done.stdout.splitlines() == [
        "end",
        "called in the loop's thread: True",
        "cleaned up",
    ]
    assert done.returncode == 0, done.stderr


def test_exit_of_a_process_whose_loop_stands_still() -> None:
    """The loop is run once more, for the callback and the cleanup: granian leaves it so."""
    done = run_script(
        """
        async def main():
            return exits.watch(loop, lambda: loop.create_task(clean_up()))

        async def clean_up():
            await asyncio.sleep(0)
            say("cleaned up")
            stop()

        loop = asyncio.new_event_loop()
        stop = loop.run_until_complete(main())
        say("end")
        """
    )
    assert done.stdout.splitlines() == ["end", "cleaned up"]
    assert done.returncode == 0, done.stderr


def test_exit_of_a_process_after_stop() -> None:
    """Nothing is left to do: the callback is not called, and nothing is waited for."""
    done = run_script(
        """
        loop = asyncio.new_event_loop()
        exits.watch(loop, lambda: say("called"))()
        exits.watch(loop, lambda: say("called"))
        loop.close()
        say("end")
        """
    )
    assert done.stdout.splitlines() == ["end"]
    assert done.returncode == 0, done.stderr


def test_exit_of_a_process_whose_cleanup_does_not_end() -> None:
    """It is waited for a little, not for ever."""
    done = run_script(
        """
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        exits.watch(loop, lambda: say("called"))
        exits._LAST_SECONDS = 0.5
        other = asyncio.new_event_loop()
        exits.watch(other, lambda: say("called too"))
        """
    )
    assert sorted(done.stdout.splitlines()) == ["called", "called too"]
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_exit_of_a_forked_process_leaves_the_watch_to_its_parent() -> None:
    """The child has not the parent's loop; the worker processes of a server have their own."""
    done = run_script(
        """
        import multiprocessing

        async def main():
            return exits.watch(loop, callback)

        def callback():
            say("called in the parent:", os.getpid() == parent)
            stop()

        def work():
            other = asyncio.new_event_loop()

            def callback():
                say("called in the worker:", os.getpid() != parent)
                stop()

            stop = exits.watch(other, callback)

        parent = os.getpid()
        loop = asyncio.new_event_loop()
        stop = loop.run_until_complete(main())
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join()
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            say("end")
        """
    )
    assert done.stdout.splitlines() == [
        "called in the worker: True",
        "end",
        "called in the parent: True",
    ]
    assert done.returncode == 0, done.stderr


def test_first_ctrl_c_calls_back_and_still_interrupts() -> None:
    """asyncio.run() has a handler of its own for SIGINT: both come to their right."""
    done = run_script(
        """
        # A shell starts what runs in its background with the signal ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        async def main():
            exits.watch(asyncio.get_running_loop(), lambda: say("called"))
            signal.raise_signal(signal.SIGINT)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                say("cancelled")
                raise

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            say("interrupted")
        """
    )
    assert done.stdout.splitlines() == ["called", "cancelled", "interrupted"]
    assert done.returncode == 0, done.stderr


def test_watching_starts_no_thread() -> None:
    """It costs a handler, nothing more."""
    before = set(threading.enumerate())
    loop = asyncio.new_event_loop()
    stop = exits.watch(loop, lambda: None)
    assert set(threading.enumerate()) <= before
    stop()
    loop.close()
