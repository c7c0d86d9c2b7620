"""Jobs: work in the background, by one coroutine at a time."""

import asyncio
import threading
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

import pytest

from django_sse import loops
from django_sse.jobs import Job
from tests.clients import until


class Work:
    """Counts how often it is begun, and how many run at once at most."""

    def __init__(self) -> None:
        self.begun = 0
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.running -= 1


@pytest.fixture
async def work() -> Work:
    loops.serve(asyncio.get_running_loop())
    return Work()


async def test_work_that_is_begun_once_more_while_it_runs(work: Work) -> None:
    """It is done again behind that, once however often it was asked for, not side by side."""
    job = Job("job", work)
    job.start()
    await until(lambda: work.running)
    for _ in range(5):
        job.start()
    assert job.is_running
    work.gate.set()
    await until(lambda: not job.is_running)
    assert (work.begun, work.most) == (2, 1)


async def test_start_from_many_threads(work: Work) -> None:
    """Whoever asks last has it done once more."""
    work.gate.set()
    done = 0

    async def count() -> None:
        nonlocal done
        done = asked
        await work()

    job, asked = Job("job", count), 0

    def ask() -> None:
        nonlocal asked
        for _ in range(200):
            asked += 1
            job.start()

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    await until(lambda: not any(asker.is_alive() for asker in askers) and not job.is_running)
    assert done == asked
    assert work.most == 1


async def test_work_that_fails_is_begun_anew(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged; the next start() finds the job at rest."""
    job = Job("job", work)
    work.error = ValueError("broken")
    work.gate.set()
    job.start()
    await until(lambda: work.begun == 1 and not job.is_running)
    assert "broken" in caplog.text
    work.error = None
    job.start()
    await until(lambda: work.begun == 2 and not job.is_running)


async def test_work_that_was_dropped_unbegun_is_begun_by_the_next_start(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that ends, or a queue that is full, closes what waits in it without a word."""
    dropped: list[Coroutine[Any, Any, object]] = []

    def drop(name: str, coroutine: Coroutine[Any, Any, object], context: Context) -> None:
        dropped.append(coroutine)
        coroutine.close()

    job = Job("job", work)
    work.gate.set()
    with monkeypatch.context() as patch:
        patch.setattr(loops, "post", drop)
        job.start()
    assert dropped
    assert not job.is_running
    job.start()
    await until(lambda: work.begun == 1 and not job.is_running)


def test_loop_that_ends_in_the_midst_leaves_the_job_at_rest() -> None:
    """The next loop's start() does the work."""
    begun: list[asyncio.AbstractEventLoop] = []
    job = Job("job", lambda: work())

    async def work() -> None:
        begun.append(asyncio.get_running_loop())
        if len(begun) == 1:
            await asyncio.Event().wait()

    async def main(count: int) -> None:
        loops.serve(asyncio.get_running_loop())
        job.start()
        await until(lambda: len(begun) == count)

    asyncio.run(main(1))
    assert not job.is_running
    asyncio.run(main(2))
    assert begun[0] is not begun[1]
