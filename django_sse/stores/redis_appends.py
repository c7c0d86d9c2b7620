"""Events on their way to the histories of one Redis server, or of one cluster."""

import asyncio
import json
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from django_sse.coalescing import Coalescer, Request
from django_sse.stores.redis_clients import Clients
from django_sse.stores.redis_scripts import APPEND

__all__ = ["Append", "Appends"]

# How many entries one call may add, and of how much text, unless it is of a single event: so long
# the server serves nobody else.
_MAX_ENTRIES = 100
_MAX_CHARACTERS = 65_536
# How far back an attempt that failed looks for what it may have done.
_AGAIN = 300

#: For each group: its number, as text, the mark before it, and the message if it was there before.
Added = list[list[str]]


class Append(NamedTuple):
    """
    One event for groups that are on one server.

    Attributes:
        keys: The head and the log of each group.
        mark: The event's mark.
        text: The event, as JSON.
        again: Whether it may have been added already; see BaseStore.append().
    """

    keys: Sequence[str]
    mark: str
    text: str
    again: bool


class Appends:
    """
    Adds events to histories. What coroutines add in one tick of their loop shares a call.

    Each event of a call is added, or fails, by itself. Those of one tick go one call after the
    other, where they need several, and so in the order in which they came.

    Args:
        clients: The connections.
        limits: ``max_events``, and the lifetimes of log and head in milliseconds.
    """

    def __init__(self, clients: Clients, limits: Sequence[int]) -> None:
        self._clients = clients
        self._limits = limits
        self._coalescer: Coalescer[Append, Added] = Coalescer(self._add_all)

    def add(self, append: Append) -> Added:
        """Add one event, from a thread that waits; raises what the server answers."""
        [answer] = _answers(self._clients.call(APPEND, append.keys, self._arguments([append])))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def aadd(self, append: Append, place: Hashable) -> "asyncio.Future[Added]":
        """See add(). All the keys of a *place* may be in one call."""
        return self._coalescer.ask(append, place)

    async def _add_all(self, requests: Sequence[Request[Append, Added]]) -> None:
        for piece in _pieces(requests):
            appends = [request.item for request in piece]
            keys = [key for append in appends for key in append.keys]
            answers: Sequence[Any]
            try:
                answers = _answers(
                    await self._clients.acall(APPEND, keys, self._arguments(appends))
                )
            except Exception as error:
                answers = [error] * len(piece)
            for request, answer in zip(piece, answers, strict=True):
                if request.answer.done():
                    continue  # Nobody waits for it.
                if isinstance(answer, BaseException):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)

    def _arguments(self, appends: Sequence[Append]) -> list[Any]:
        arguments: list[Any] = [*self._limits]
        for keys, mark, text, again in appends:
            arguments += (len(keys), _AGAIN if again else 0, mark, text)
        return arguments


def _pieces(
    requests: Sequence[Request[Append, Added]],
) -> Iterator[list[Request[Append, Added]]]:
    """Yield those of *requests* that are waited for, as many at a time as a call may have."""
    piece: list[Request[Append, Added]] = []
    entries = size = 0
    for request in requests:
        if request.answer.done():
            continue
        more, text = len(request.item.keys) // 2, len(request.item.text)
        if piece and (entries + more > _MAX_ENTRIES or size + text > _MAX_CHARACTERS):
            yield piece
            piece, entries, size = [], 0, 0
        piece.append(request)
        entries, size = entries + more, size + text
    if piece:
        yield piece


def _answers(answer: Sequence[Any]) -> list[Added | BaseException]:
    """Return for each event what was added, or the error."""
    text, *errors = answer
    failures = iter(errors)
    return [added or next(failures) for added in json.loads(text)]
