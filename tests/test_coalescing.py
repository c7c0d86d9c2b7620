"""Coalescers: what many coroutines ask for, done together."""

import asyncio
import contextvars
import gc
from collections.abc import Hashable, Sequence
from typing import Any

import pytest

from django_sse import coalescing
from django_sse.coalescing import Coalescer, Request
from tests.clients import TIMEOUT, until


class Work:
    """Does what it is given when it is let, and notes it: the answer to a number is its double."""

    def __init__(self, *, is_held: bool = False) -> None:
        self.coalescer: Coalescer[int, int] = Coalescer(self._do)
        self.rounds: list[list[int]] = []
        self.cancelled = 0
        self.errors: dict[int, Exception] = {}
        self.may_go_on = asyncio.Event()
        if not is_held:
            self.may_go_on.set()

    async def _do(self, requests: Sequence[Request[int, int]]) -> None:
        self.rounds.append([request.item for request in requests])
        try:
            await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        for item, answer in requests:
            if answer.done():
                continue
            if item in self.errors:
                answer.set_exception(self.errors[item])
            else:
                answer.set_result(2 * item)

    async def ask(self, item: int, place: Hashable = None) -> int:
        return await self.coalescer.ask(item, place)

    def tasks(self, *items: int) -> "list[asyncio.Task[int]]":
        return [asyncio.ensure_future(self.ask(item)) for item in items]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a round wait for the one before however long that takes."""
    monkeypatch.setattr(coalescing, "_PATIENCE_SECONDS", TIMEOUT)


async def test_one_is_done_by_itself() -> None:
    """At once, as if there were no others."""
    work = Work()
    assert await work.ask(4) == 8
    assert work.rounds == [[4]]


async def test_those_of_one_tick_are_done_together() -> None:
    """In the order in which they were asked for; each gets its own answer."""
    work = Work()
    assert await asyncio.gather(*work.tasks(3, 1, 2)) == [6, 2, 4]
    assert work.rounds == [[3, 1, 2]]


async def test_places_are_apart() -> None:
    """One that hangs holds up no other."""
    work = Work()
    answers = await asyncio.gather(work.ask(1, "a"), work.ask(2, "b"), work.ask(3, "a"))
    assert list(answers) == [2, 4, 6]
    assert work.rounds == [[1, 3], [2]]


@pytest.mark.usefixtures("patient")
async def test_what_comes_while_a_round_is_under_way_shares_the_next() -> None:
    """However many ticks that takes."""
    work = Work(is_held=True)
    tasks = work.tasks(1)
    await until(lambda: work.rounds)
    for item in range(2, 6):
        tasks += work.tasks(item)
        await asyncio.sleep(0)
    work.may_go_on.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert work.rounds == [[1], [2, 3, 4, 5]]


async def test_round_that_hangs_holds_up_the_next_for_a_moment_only() -> None:
    """It may hang where the next one does not."""
    work = Work(is_held=True)
    tasks = work.tasks(1)
    await until(lambda: work.rounds)
    tasks += work.tasks(2)
    await until(lambda: len(work.rounds) == 2)
    assert not tasks[0].done()
    work.may_go_on.set()
    assert await asyncio.gather(*tasks) == [2, 4]


async def test_one_that_fails_fails_alone() -> None:
    """Its neighbours have nothing to do with it."""
    work = Work()
    work.errors[2] = ValueError("two")
    answers = await asyncio.gather(*work.tasks(1, 2, 3), return_exceptions=True)
    assert answers == [2, work.errors[2], 6]


async def test_what_the_round_raises_is_the_answer_of_those_that_are_left() -> None:
    """Nobody waits for ever."""

    async def fail(requests: Sequence[Request[int, int]]) -> None:
        requests[0].answer.set_result(1)
        raise ConnectionError("refused")

    coalescer: Coalescer[int, int] = Coalescer(fail)
    first, *others = await asyncio.gather(*map(coalescer.ask, range(3)), return_exceptions=True)
    assert first == 1
    assert [type(answer) for answer in others] == [ConnectionError] * 2


async def test_round_that_returns_answers_those_that_are_left() -> None:
    """With None: it was done, and there is nothing to tell."""

    async def do(requests: Sequence[Request[int, None]]) -> None:
        pass

    coalescer: Coalescer[int, None] = Coalescer(do)
    assert list(await asyncio.gather(coalescer.ask(1), coalescer.ask(2))) == [None, None]


async def test_one_that_is_cancelled_takes_no_other_along() -> None:
    """Before its round begins, and while it is under way."""
    work = Work(is_held=True)
    early, late, kept = work.tasks(1, 2, 3)
    await asyncio.sleep(0)
    early.cancel()
    await until(lambda: work.rounds)
    late.cancel()
    await asyncio.wait({early, late})
    work.may_go_on.set()
    assert await kept == 6
    assert early.cancelled()
    assert late.cancelled()
    assert work.cancelled == 0


async def test_round_that_nobody_waits_for_is_cancelled() -> None:
    """Who has given up may try again: the first attempt must not come after the second."""
    work = Work(is_held=True)
    tasks = work.tasks(1, 2)
    await until(lambda: work.rounds)
    for task in tasks:
        task.cancel()
    await until(lambda: work.cancelled == 1)
    work.may_go_on.set()
    assert await work.ask(3) == 6


@pytest.mark.usefixtures("patient")
async def test_what_comes_after_all_have_given_up_is_done() -> None:
    """Those who had asked for the same round are gone before it begins."""
    work = Work(is_held=True)
    tasks = work.tasks(1)
    await until(lambda: work.rounds)
    tasks += work.tasks(2)
    await asyncio.sleep(0)
    tasks.pop().cancel()
    tasks += work.tasks(3)
    work.may_go_on.set()
    assert await asyncio.gather(*tasks) == [2, 6]


async def test_error_that_nobody_waits_for_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """The caller may have gone by another's error."""
    work = Work()
    work.errors[1] = ValueError("one")
    answer = work.coalescer.ask(1)
    await until(answer.done)
    await asyncio.sleep(0)
    del answer, work
    gc.collect()
    assert caplog.text == ""


async def test_round_has_no_context_of_who_asks() -> None:
    """It is for many; of a request, it would keep the thread."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def do(requests: Sequence[Request[int, None]]) -> None:
        seen.append(variable.get())

    variable.set("a request's")
    coalescer: Coalescer[int, None] = Coalescer(do)
    await coalescer.ask(1)
    assert seen == ["none"]


@pytest.mark.parametrize("ticks", [0, 1, 5], ids=["asked", "begun", "waiting"])
def test_loop_that_ends_leaves_nothing(ticks: int) -> None:
    """Whether the round has begun or not; the next loop has rounds of its own."""
    work = None

    async def ask_and_go() -> None:
        nonlocal work
        work = work or Work(is_held=True)
        work.tasks(1, 2)
        for _ in range(ticks):
            await asyncio.sleep(0)

    async def ask() -> int:
        assert work is not None
        work.may_go_on = asyncio.Event()
        work.may_go_on.set()
        return await work.ask(3)

    for _ in range(3):
        asyncio.run(ask_and_go())
        assert work is not None
        coalescer: Any = work.coalescer
        assert (coalescer._open, coalescer._begun) == ({}, {})
    assert asyncio.run(ask()) == 6
