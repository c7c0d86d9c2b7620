"""The first step of an awaitable by hand, and a bound for what is left of it."""

import asyncio
from typing import Any

import pytest

from django_sse.steps import within
from tests.clients import TIMEOUT


async def at_once(value: object) -> object:
    """Wait for nothing."""
    return value


async def test_what_does_not_wait_has_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its value is returned; a limit is not even looked at."""
    monkeypatch.setattr(asyncio, "timeout", None)
    assert await within(0, at_once("value")) == "value"


async def test_what_waits_returns_its_value_too() -> None:
    """After one wait or several, from whatever it waits for."""

    async def wait() -> str:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        await asyncio.get_running_loop().run_in_executor(None, int)
        assert asyncio.current_task() is task
        return "value"

    assert await within(TIMEOUT, wait()) == "value"


@pytest.mark.parametrize("is_late", [False, True])
async def test_errors_are_raised(is_late: bool) -> None:
    """Those of the first step, and later ones."""

    async def fail() -> None:
        if is_late:
            await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        await within(TIMEOUT, fail())


async def test_what_takes_too_long_is_cancelled() -> None:
    """Where it waits; it can clean up."""
    seen: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(TimeoutError):
        await within(0.001, wait())
    assert seen == ["cancelled"]


async def test_cancellation_goes_inside() -> None:
    """As it does where something is awaited."""
    seen: list[str] = []
    waits = asyncio.Event()

    async def wait() -> None:
        try:
            waits.set()
            await asyncio.Event().wait()
        finally:
            seen.append("over")

    async def work() -> Any:
        await within(TIMEOUT, wait())

    task = asyncio.create_task(work())
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["over"]
