"""Driving sends by hand: whatever a server's send does, it does it as in a task of its own."""

import asyncio
import contextvars
import gc
import inspect
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest

from django_sse.driver import Driver
from tests.clients import TIMEOUT

if sys.platform != "win32":
    import uvloop

    LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
else:
    LOOPS = {"asyncio": asyncio.new_event_loop}

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine function: it is run on asyncio's loop, and on uvloop's."""

    @pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(asyncio.wait_for(test(**arguments), TIMEOUT))

    run.__doc__ = test.__doc__
    parameters = [
        inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *inspect.signature(test).parameters.values(),
    ]
    run.__signature__ = inspect.Signature(parameters)
    return run


class Owner:
    """Has one send at a time, and finishes it in the carrier's task."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self.context = ""

    async def go_on(self, rest: Awaitable[None]) -> None:
        self.task = asyncio.current_task()
        try:
            await rest
        except BaseException as error:
            self.outcome.set_result(error)
            raise
        else:
            self.outcome.set_result("sent")
            self.context = variable.get()


#: The task that a send goes on in, or None, and its owner.
Started = tuple[asyncio.Task[None] | None, Owner]


def make_driver() -> Driver:
    return Driver(asyncio.get_running_loop(), contextvars.Context())


def drive(
    driver: Driver, *sends: Awaitable[None]
) -> list[tuple[asyncio.Task[None] | None, Owner]]:
    """Start *sends* in one run()."""
    started: list[Started] = []

    def step() -> None:
        for send in sends:
            owner = Owner()
            started.append((driver.start(send, owner), owner))

    driver.run(step)
    return started


async def outcome(started: Started) -> object:
    """Return "sent", or what the send raised."""
    task, owner = started
    assert task is not None
    result = await owner.outcome
    await asyncio.wait([task])
    assert owner.task is task
    return result


@on_both_loops
async def test_start_of_a_send_that_finishes_at_once() -> None:
    """No task goes on with it, and the next send has the same task as the current one."""
    driver = make_driver()
    seen = []

    async def send() -> None:
        seen.append(asyncio.current_task())

    assert [task for task, _ in drive(driver, send(), send())] == [None, None]
    assert [task for task, _ in drive(driver, send())] == [None]
    first, second, third = seen
    assert first is second is third
    assert first is not None
    assert first is not asyncio.current_task()


@on_both_loops
async def test_start_of_a_send_that_waits_once() -> None:
    """The rest goes on in the task that was current when the send began."""
    driver = make_driver()
    gate = asyncio.get_running_loop().create_future()
    seen = []

    async def send() -> None:
        seen.append(asyncio.current_task())
        await gate
        seen.append(asyncio.current_task())

    [started] = drive(driver, send())
    assert not started[1].outcome.done()
    gate.set_result(None)
    assert await outcome(started) == "sent"
    assert seen == [started[0], started[0]]


@on_both_loops
async def test_start_of_a_send_that_waits_several_times() -> None:
    """Futures, bare yields and tasks: it may wait for whatever a task may wait for."""
    driver = make_driver()
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    steps = []

    async def send() -> None:
        await asyncio.sleep(0)
        steps.append("yielded")
        await event.wait()
        steps.append("event")
        await asyncio.create_task(asyncio.sleep(0))
        steps.append("task")
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        steps.append("gathered")
        assert asyncio.current_task() is not None

    [started] = drive(driver, send())
    loop.call_soon(event.set)
    assert await outcome(started) == "sent"
    assert steps == ["yielded", "event", "task", "gathered"]


@on_both_loops
async def test_start_of_a_send_whose_future_is_done_before_the_carrier_runs() -> None:
    """What it waits for may come in the same tick."""
    driver = make_driver()
    gate = asyncio.get_running_loop().create_future()

    async def send() -> None:
        await gate

    [started] = drive(driver, send())
    gate.set_result(None)
    assert await outcome(started) == "sent"


@on_both_loops
async def test_start_of_sends_that_wait_side_by_side() -> None:
    """Each goes on in a task of its own, in any order; those that finish at once need none."""
    driver = make_driver()
    gates = [asyncio.get_running_loop().create_future() for _ in range(3)]
    seen: list[tuple[int, asyncio.Task[Any] | None]] = []

    async def send(number: int) -> None:
        await gates[number]
        seen.append((number, asyncio.current_task()))

    async def at_once() -> None:
        return

    started = drive(driver, send(0), at_once(), send(1), send(2))
    tasks = [task for task, _ in started]
    assert tasks[1] is None
    waiting = [started[0], started[2], started[3]]
    assert len({task for task, _ in waiting}) == 3
    for number in (2, 0, 1):
        gates[number].set_result(None)
        assert await outcome(waiting[number]) == "sent"
    assert seen == [(number, waiting[number][0]) for number in (2, 0, 1)]


@on_both_loops
async def test_start_raises_what_the_send_raises_at_once() -> None:
    """The caller hears of it, and the driver is as good as before."""
    driver = make_driver()
    caller = asyncio.current_task()

    async def send() -> None:
        raise BrokenPipeError("gone")

    with pytest.raises(BrokenPipeError, match="gone"):
        drive(driver, send())
    assert asyncio.current_task() is caller

    async def at_once() -> None:
        return

    assert [task for task, _ in drive(driver, at_once())] == [None]


@on_both_loops
async def test_start_of_a_send_that_raises_after_a_wait() -> None:
    """Its owner gets the error."""
    driver = make_driver()

    async def send() -> None:
        await asyncio.sleep(0)
        raise BrokenPipeError("gone")

    [started] = drive(driver, send())
    error = await outcome(started)
    assert isinstance(error, BrokenPipeError)
    assert started[0] is not None
    assert started[0].exception() is error


@on_both_loops
async def test_start_of_a_send_with_a_timeout_that_does_not_fire() -> None:
    """asyncio.timeout() finds its task again after the wait."""
    driver = make_driver()
    gate = asyncio.get_running_loop().create_future()

    async def send() -> None:
        async with asyncio.timeout(60):
            await gate
        await asyncio.sleep(0)

    [started] = drive(driver, send())
    gate.set_result(None)
    assert await outcome(started) == "sent"
    assert started[0] is not None
    assert started[0].cancelling() == 0


@on_both_loops
async def test_start_of_a_send_with_a_timeout_that_fires() -> None:
    """It interrupts the send in the carrier's task, and no other."""
    driver = make_driver()
    never = asyncio.get_running_loop().create_future()

    async def send() -> None:
        async with asyncio.timeout(0.001):
            await never

    [started] = drive(driver, send())
    assert isinstance(await outcome(started), TimeoutError)
    assert started[0] is not None
    assert not started[0].cancelled()


@on_both_loops
async def test_start_of_a_send_with_a_timeout_that_catches_its_own() -> None:
    """A wrapper may give up one attempt, and make another."""
    driver = make_driver()
    never = asyncio.get_running_loop().create_future()

    async def send() -> None:
        try:
            async with asyncio.timeout(0.001):
                await never
        except TimeoutError:
            await asyncio.sleep(0)

    [started] = drive(driver, send())
    assert await outcome(started) == "sent"


@pytest.mark.parametrize("carrier", ["waits to be handed something", "has not begun"])
@on_both_loops
async def test_start_of_a_send_with_a_timeout_that_is_over_already(carrier: str) -> None:
    """It fires before the carrier has taken the send over: the send hears of it all the same."""
    driver = make_driver()
    never = asyncio.get_running_loop().create_future()

    async def send() -> None:
        async with asyncio.timeout(0):
            await never

    if carrier == "waits to be handed something":
        driver.run(lambda: None)
        await asyncio.sleep(0)
    [started] = drive(driver, send())
    assert isinstance(await outcome(started), TimeoutError)


@on_both_loops
async def test_start_of_a_send_with_a_timeout_that_is_not_needed() -> None:
    """Without a wait it begins and ends in one step, in a task."""
    driver = make_driver()

    async def send() -> None:
        async with asyncio.timeout(60), asyncio.timeout(None):
            await Steps()

    assert [task for task, _ in drive(driver, send(), send())] == [None, None]


@on_both_loops
async def test_start_of_a_send_with_a_task_group() -> None:
    """asyncio.TaskGroup is bound to its task too."""
    driver = make_driver()

    async def send() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))

    [started] = drive(driver, send())
    assert await outcome(started) == "sent"


@on_both_loops
async def test_start_of_a_send_that_resets_a_variable_after_a_wait() -> None:
    """A token is good in the context it was made in: there the rest runs too."""
    driver = make_driver()

    async def send() -> None:
        token = variable.set("inside")
        await asyncio.sleep(0)
        assert variable.get() == "inside"
        variable.reset(token)

    [started] = drive(driver, send())
    assert await outcome(started) == "sent"
    assert started[1].context == "unset"
    assert variable.get() == "unset"


@on_both_loops
async def test_start_from_a_task_that_copied_the_context_of_the_driver() -> None:
    """A task that was made in a callback of the driver's has a copy: tokens are good there too."""
    driver = make_driver()

    async def send() -> None:
        token = variable.set("inside")
        await asyncio.sleep(0)
        variable.reset(token)

    async def elsewhere() -> object:
        [started] = drive(driver, send())
        return await outcome(started)

    loop = asyncio.get_running_loop()
    assert await loop.create_task(elsewhere(), context=driver.context.copy()) == "sent"


@on_both_loops
async def test_start_from_a_task_in_the_context_of_the_driver() -> None:
    """It is entered already, and cannot be entered again: the step runs all the same."""
    driver = make_driver()

    async def send() -> None:
        token = variable.set("inside")
        await asyncio.sleep(0)
        variable.reset(token)

    async def elsewhere() -> object:
        [started] = drive(driver, send())
        return await outcome(started)

    loop = asyncio.get_running_loop()
    assert await loop.create_task(elsewhere(), context=driver.context) == "sent"


@on_both_loops
async def test_run_has_the_context_of_the_driver() -> None:
    """Not that of the request whose task happens to be the caller."""
    driver = make_driver()
    token = variable.set("of the request")
    seen = []
    driver.run(lambda: seen.append(variable.get()))

    async def send() -> None:
        seen.append(variable.get())
        await asyncio.sleep(0)
        seen.append(variable.get())

    [started] = drive(driver, send())
    await outcome(started)
    assert seen == ["unset", "unset", "unset"]
    assert variable.get() == "of the request"
    variable.reset(token)


@on_both_loops
async def test_run_raises_what_its_step_raises() -> None:
    """A RuntimeError too: it is not taken for that of a context that was entered twice."""
    driver = make_driver()
    calls = []

    def step() -> None:
        calls.append(1)
        raise RuntimeError("cannot enter context: x is already entered")

    with pytest.raises(RuntimeError, match="x is already entered"):
        driver.run(step)
    assert calls == [1]


class Steps:
    """An awaitable as granian's: its iterator has __next__, and neither send() nor throw()."""

    def __init__(self, *waits_for: Any) -> None:
        self._steps = iter(waits_for)

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._steps)


class FutureLike:
    """Granian's awaitable of a send that has to wait: it is what it waits for, too."""

    _asyncio_future_blocking = False

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_done = False
        self.callbacks: list[tuple[Callable[[Any], object], contextvars.Context | None]] = []
        self.is_cancelled = False

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.is_done:
            raise StopIteration
        self._asyncio_future_blocking = True
        return self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: contextvars.Context | None = None
    ) -> None:
        self.callbacks.append((callback, context))

    def result(self) -> None:
        if self.is_cancelled:
            raise asyncio.CancelledError

    def cancel(self, msg: Any = None) -> bool:
        self.is_cancelled = True
        self.wake()
        return True

    def wake(self) -> None:
        for callback, context in self.callbacks:
            self.loop.call_soon(callback, self, context=context)
        self.callbacks.clear()

    def finish(self) -> None:
        self.is_done = True
        self.wake()


@on_both_loops
async def test_start_of_an_awaitable_with_nothing_to_wait_for() -> None:
    """Granian's send is an empty iterator where it could write."""
    assert [task for task, _ in drive(make_driver(), Steps(), Steps())] == [None, None]


@on_both_loops
async def test_start_of_an_awaitable_without_send_and_throw() -> None:
    """Its steps are taken with next() alone."""
    driver = make_driver()
    [started] = drive(driver, Steps(None, None, None))
    assert await outcome(started) == "sent"


@on_both_loops
async def test_start_of_an_awaitable_that_yields_a_future_like() -> None:
    """The carrier's task waits for it as it waits for a future."""
    driver = make_driver()
    send = FutureLike()
    [started] = drive(driver, send)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not started[1].outcome.done()
    assert send.callbacks
    send.finish()
    assert await outcome(started) == "sent"


@on_both_loops
async def test_cancel_a_send_that_is_a_future_like() -> None:
    """It has no throw() to be told by: it is let go, and the task ends."""
    driver = make_driver()
    send = FutureLike()
    [(task, owner)] = drive(driver, send)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert task is not None
    task.cancel()
    assert isinstance(await owner.outcome, asyncio.CancelledError)
    await asyncio.wait([task])
    assert task.cancelled()
    assert send.is_cancelled


@on_both_loops
async def test_cancel_a_send_that_waits() -> None:
    """The cancellation reaches the send where it waits."""
    driver = make_driver()
    never = asyncio.get_running_loop().create_future()
    seen = []

    async def send() -> None:
        try:
            await never
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    [(task, owner)] = drive(driver, send())
    await asyncio.sleep(0)
    assert task is not None
    task.cancel()
    assert isinstance(await owner.outcome, asyncio.CancelledError)
    await asyncio.wait([task])
    assert task.cancelled()
    assert never.cancelled()
    assert seen == ["cancelled"]


@on_both_loops
async def test_cancel_a_send_that_cleans_up_with_a_wait() -> None:
    """It may wait again before it goes, and it may go quietly."""
    driver = make_driver()
    never = asyncio.get_running_loop().create_future()
    seen = []

    async def send() -> None:
        try:
            await never
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cleaned up")

    [started] = drive(driver, send())
    await asyncio.sleep(0)
    assert started[0] is not None
    started[0].cancel()
    assert await outcome(started) == "sent"
    assert seen == ["cleaned up"]


@on_both_loops
async def test_cancel_a_send_that_goes_without_a_wait() -> None:
    """A send that swallows its cancellation has ended."""
    driver = make_driver()
    never = asyncio.get_running_loop().create_future()

    async def send() -> None:
        try:
            await never
        except asyncio.CancelledError:
            return

    [started] = drive(driver, send())
    await asyncio.sleep(0)
    assert started[0] is not None
    started[0].cancel()
    assert await outcome(started) == "sent"


@pytest.mark.parametrize("carrier", ["waits to be handed something", "has not begun"])
@on_both_loops
async def test_cancel_a_send_before_its_carrier_has_taken_it_over(carrier: str) -> None:
    """It is told where it waits, as it would be later: uvloop runs timers before tasks."""
    driver = make_driver()
    never = asyncio.get_running_loop().create_future()
    seen = []

    async def send() -> None:
        try:
            await never
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    if carrier == "waits to be handed something":
        driver.run(lambda: None)
        await asyncio.sleep(0)
    [(task, owner)] = drive(driver, send())
    assert task is not None
    task.cancel()
    assert isinstance(await owner.outcome, asyncio.CancelledError)
    await asyncio.wait([task])
    assert task.cancelled()
    assert seen == ["cancelled"]


@on_both_loops
async def test_run_from_a_task_restores_the_current_task() -> None:
    """The caller goes on as if nothing had been."""
    driver = make_driver()
    caller = asyncio.current_task()
    seen = []
    driver.run(lambda: seen.append(asyncio.current_task()))
    assert asyncio.current_task() is caller
    assert seen[0] not in (None, caller)
    async with asyncio.timeout(60):
        await asyncio.sleep(0)


@on_both_loops
async def test_run_from_a_callback_leaves_no_current_task() -> None:
    """Callbacks have none, before and after."""
    driver = make_driver()
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    seen: list[object] = []

    async def send() -> None:
        seen.append(asyncio.current_task() is not None)

    def callback() -> None:
        seen.append(asyncio.current_task())
        drive(driver, send())
        seen.append(asyncio.current_task())
        done.set_result(None)

    loop.call_soon(callback)
    await done
    assert seen == [None, True, None]


@on_both_loops
async def test_run_inside_run_is_the_same_run() -> None:
    """What a step calls may call run() itself: the current task stays."""
    driver = make_driver()
    seen = []

    def inner() -> None:
        seen.append(asyncio.current_task())

    def outer() -> None:
        inner()
        driver.run(inner)
        driver.run(lambda: driver.run(inner))
        inner()

    driver.run(outer)
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert asyncio.current_task() not in seen


@on_both_loops
async def test_run_from_the_task_of_a_carrier() -> None:
    """What goes on after a send, in its own task, may send to others."""
    driver = make_driver()

    async def send() -> None:
        await asyncio.sleep(0)

    class Relay(Owner):
        async def go_on(self, rest: Awaitable[None]) -> None:
            await rest
            task = asyncio.current_task()
            [started] = drive(driver, send())
            assert asyncio.current_task() is task
            assert started[0] is not task
            self.outcome.set_result(await outcome(started))

    relay, started = Relay(), list[asyncio.Task[None] | None]()
    driver.run(lambda: started.append(driver.start(send(), relay)))
    assert await relay.outcome == "sent"


@on_both_loops
async def test_run_restores_the_current_task_when_its_step_raises() -> None:
    """An error does not leave the loop with a wrong current task."""
    driver = make_driver()
    caller = asyncio.current_task()

    def step() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        driver.run(step)
    assert asyncio.current_task() is caller
    driver.run(lambda: None)


@on_both_loops
async def test_drivers_of_two_kinds_may_be_nested() -> None:
    """A server's send may lead to another driver: each restores what it found."""
    one, other = make_driver(), make_driver()
    seen = []

    def step() -> None:
        before = asyncio.current_task()
        other.run(lambda: seen.append(asyncio.current_task()))
        assert asyncio.current_task() is before

    one.run(step)
    assert len(seen) == 1


@on_both_loops
async def test_close_ends_the_spare_task() -> None:
    """Nothing of the driver is left on the loop; it could be used again."""
    driver = make_driver()
    before = asyncio.all_tasks()
    driver.run(lambda: None)
    [spare] = asyncio.all_tasks() - before
    driver.close()
    driver.close()
    await asyncio.wait([spare])
    assert spare.cancelled()
    assert asyncio.all_tasks() == before
    driver.run(lambda: None)
    driver.close()


@on_both_loops
async def test_close_of_a_driver_that_was_never_used() -> None:
    """There is nothing to end."""
    before = asyncio.all_tasks()
    make_driver().close()
    assert asyncio.all_tasks() == before


@on_both_loops
async def test_a_send_that_has_ended_is_not_kept() -> None:
    """Thousands of sends a second leave nothing behind."""
    driver = make_driver()

    class Payload:
        pass

    def start(wait: bool) -> tuple["weakref.ref[Payload]", Any]:
        payload = Payload()

        async def send(payload: Payload) -> None:
            if wait:
                await asyncio.sleep(0)

        [started] = drive(driver, send(payload))
        return weakref.ref(payload), started

    at_once, _ = start(wait=False)
    later, started = start(wait=True)
    await outcome(started)
    del started
    await asyncio.sleep(0)
    gc.collect()
    assert at_once() is None
    assert later() is None


@on_both_loops
async def test_the_rest_can_be_thrown_into_as_often_as_it_waits() -> None:
    """Each cancellation reaches the send, and the last one ends it."""
    driver = make_driver()
    seen = []

    class Stubborn:
        def __await__(self) -> Generator[Any, Any, None]:
            for _ in range(2):
                try:
                    yield from asyncio.get_running_loop().create_future()
                except asyncio.CancelledError as error:
                    seen.append(error)
            yield from asyncio.get_running_loop().create_future()

    [(task, owner)] = drive(driver, Stubborn())
    assert task is not None
    for _ in range(3):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    assert isinstance(await owner.outcome, asyncio.CancelledError)
    assert len(seen) == 2
