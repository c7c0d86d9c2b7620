"""Taking the first step of an awaitable by hand: often it is the only one."""

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from typing import Any, Generic, TypeVar

__all__ = ["HalfDone", "within"]

_T = TypeVar("_T")


class HalfDone(Generic[_T]):
    """What is left of an awaitable whose first step has been taken."""

    __slots__ = ("_error", "_steps", "_waits_for")

    def __init__(self, steps: Iterator[Any], waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for
        self._error: BaseException | None = None

    def interrupt(self, error: BaseException) -> None:
        """Raise *error* where the awaitable waits, as soon as it is awaited."""
        self._error = error

    def __await__(self) -> Generator[Any, Any, _T]:
        steps, waits_for = self._steps, self._waits_for
        while True:
            try:
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                yield waits_for
            except BaseException as error:
                # A cancellation, mostly. Granian's awaitables have no throw(): let go of them.
                throw = getattr(steps, "throw", None)
                if throw is None:
                    raise
                try:
                    waits_for = throw(error)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
            else:
                try:
                    waits_for = next(steps)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]


async def within(seconds: float, coroutine: Coroutine[Any, Any, _T]) -> _T:
    """
    Await *coroutine* for *seconds* at most. One that never waits is run, and no timer is made.

    Raises:
        TimeoutError: If it takes longer; it is cancelled then.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    async with asyncio.timeout(seconds):
        return await HalfDone(coroutine.__await__(), waits_for)
