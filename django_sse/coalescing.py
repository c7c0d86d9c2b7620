"""Doing together what many coroutines ask for."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from django_sse.contexts import new_context

__all__ = ["Coalescer", "Request"]

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")
_Key = tuple[asyncio.AbstractEventLoop, Hashable]

# How long what is asked for waits for what is under way. That may hang, where the next would not.
_PATIENCE_SECONDS = 0.05


class Request(NamedTuple, Generic[_Item, _Answer]):
    """One thing that is asked for, and the future that its answer is put into."""

    item: _Item
    answer: "asyncio.Future[_Answer]"


class Coalescer(Generic[_Item, _Answer]):
    """
    Gathers what is asked for on an event loop, and has it done together.

    A round is what is asked for in one tick of the loop, and while the round before it is under
    way: one request that comes alone is done at once, and the more come, the more share a round.

    Who waits for an answer may be cancelled: the others get theirs. When nobody waits any more,
    the round is cancelled, too: nothing goes on behind the back of those who have given up.

    Args:
        do: Does what it is given, in the order in which it was asked for, and sets the answers
            that are not done. What it raises is the answer of those that are left; None is, if it
            returns.
    """

    def __init__(
        self, do: Callable[[Sequence[Request[_Item, _Answer]]], Coroutine[Any, Any, object]]
    ) -> None:
        self._do = do
        # The round that is open, and the one that is under way.
        self._open: dict[_Key, _Round[_Item, _Answer]] = {}
        self._begun: dict[_Key, _Round[_Item, _Answer]] = {}

    def ask(self, item: _Item, place: Hashable = None) -> "asyncio.Future[_Answer]":
        """Ask for *item*, with what else is asked for at *place*; return the answer's future."""
        loop = asyncio.get_running_loop()
        key = (loop, place)
        round_ = self._open.get(key)
        if round_ is None:
            round_ = self._open[key] = _Round()
            # A task begins in the next tick: by then all that this one asks for is there.
            task = loop.create_task(self._run(key, round_), context=new_context())
            task.add_done_callback(lambda task: self._end(key, round_, task))
            round_.task = task
        answer: asyncio.Future[_Answer] = loop.create_future()
        answer.add_done_callback(round_.look)
        round_.requests.append(Request(item, answer))
        return answer

    async def _run(self, key: _Key, round_: "_Round[_Item, _Answer]") -> None:
        if (before := self._begun.get(key)) is not None:
            await asyncio.wait({before.task}, timeout=_PATIENCE_SECONDS)
        del self._open[key]
        self._begun[key] = round_
        round_.has_begun = True
        await self._do(round_.requests)

    def _end(
        self, key: _Key, round_: "_Round[_Item, _Answer]", task: "asyncio.Task[None]"
    ) -> None:
        for rounds in (self._open, self._begun):
            if rounds.get(key) is round_:
                del rounds[key]
        error = None if task.cancelled() else task.exception()
        for _, answer in round_.requests:
            if answer.done():
                continue
            if task.cancelled():
                answer.cancel()
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(None)  # type: ignore[arg-type]  # See Args.


class _Round(Generic[_Item, _Answer]):
    """What is done together, and the task that does it."""

    __slots__ = ("has_begun", "requests", "task")

    task: "asyncio.Task[None]"

    def __init__(self) -> None:
        self.requests: list[Request[_Item, _Answer]] = []
        self.has_begun = False

    def look(self, answer: "asyncio.Future[_Answer]") -> None:
        """Break off what nobody waits for any more."""
        if not answer.cancelled():
            answer.exception()  # Who would have been told it may have gone.
        elif (
            self.has_begun
            and not self.task.cancelling()
            and all(request.answer.done() for request in self.requests)
        ):
            self.task.cancel()
