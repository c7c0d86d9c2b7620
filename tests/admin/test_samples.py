"""What the registry keeps of an hour, and the reports of its workers."""

import datetime
import itertools
import json
from typing import Any

import pytest

from django_sse import apublish
from django_sse.models import DatabaseNow, Sample, Worker
from django_sse.overview import Timeline, make_overview, read_spans, read_workers
from django_sse.registry.record import Record
from tests.registry.conftest import alias as alias
from tests.registry.conftest import database as database
from tests.registry.conftest import in_thread as in_thread
from tests.registry.conftest import open_many
from tests.registry.conftest import statements as statements
from tests.servers.waiting import eventually

pytestmark = pytest.mark.registry


def samples(alias: str) -> list[dict[str, float]]:
    rows = Sample.objects.using(alias).order_by("pk")
    return [json.loads(row.figures_json) for row in rows]


async def until_there_are(count: int, alias: str, in_thread: Any) -> None:
    await eventually(lambda: in_thread(lambda: len(samples(alias)) >= count))


async def test_sample_is_written_with_the_lease(alias: str, in_thread: Any) -> None:
    """Together they tell of all that was done, each of what was done since the one before."""
    await open_many(3, "room")
    await eventually(lambda: in_thread(samples, alias))
    for _ in range(2):
        await apublish("room", "hello")
        await until_there_are(len(await in_thread(samples, alias)) + 2, alias, in_thread)
    found = await in_thread(samples, alias)
    assert sum(sample["events"] for sample in found) == 6
    assert found[-1]["events"] == 0
    assert found[-1]["streams"] == 3
    assert all(0 < sample["seconds"] < 60 for sample in found)


async def test_old_samples_are_deleted(alias: str, in_thread: Any) -> None:
    """Of workers that have ended, too; what is not an hour old stays."""

    def add(worker: str, minutes: int) -> None:
        at = DatabaseNow() - datetime.timedelta(minutes=minutes)
        Sample(worker_id=worker, taken_at=at, figures_json="{}").save(using=alias)

    def workers() -> set[str]:
        return set(Sample.objects.using(alias).values_list("worker_id", flat=True))

    await in_thread(add, "old", 61)
    await in_thread(add, "young", 59)
    await open_many(1, "room")
    await eventually(lambda: in_thread(lambda: "old" not in workers()), within=60)
    assert "young" in await in_thread(workers)


async def test_samples_are_read_as_far_as_they_are_wanted(alias: str, in_thread: Any) -> None:
    """By the clock of the database."""

    def add_and_read() -> tuple[list[Any], list[Any]]:
        at = DatabaseNow() - datetime.timedelta(seconds=100)
        figures = json.dumps({"seconds": 10, "events": 5})
        Sample(worker_id="a", taken_at=at, figures_json=figures).save(using=alias)
        return list(read_spans(alias)), list(read_spans(alias, 50))

    [span], none = await in_thread(add_and_read)
    assert (span.worker, span.end - span.start, span.figures["events"]) == ("a", 10, 5)
    assert none == []


async def test_registry_has_the_whole_report(alias: str, in_thread: Any) -> None:
    """It is read together with the age of the lease, by the clock of the database."""
    await open_many(2, "room")

    def overview() -> Any:
        return make_overview(read_workers(alias))

    await eventually(lambda: in_thread(lambda: overview().totals.streams == 2))
    found = await in_thread(overview)
    [worker] = found.workers
    row = await Worker.objects.using(alias).aget()
    assert (worker.name, worker.report.worker) == (str(row), row.pk)
    assert 0 <= worker.lease_age < 60
    assert [(group.name, group.readers) for group in found.audiences] == [("room", 2)]
    assert found.traffic == []


async def test_lease_that_is_not_renewed_is_late(
    alias: str, in_thread: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is seen before the lease has run out."""
    await open_many(1, "room")
    await eventually(lambda: in_thread(lambda: read_workers(alias)))
    monkeypatch.setattr(Record, "write", lambda record, batch: 1 / 0)

    def is_late() -> bool:
        return any(worker.is_late for worker in make_overview(read_workers(alias)).workers)

    await eventually(lambda: in_thread(is_late))


async def test_timeline_of_samples_that_workers_have_written(alias: str, in_thread: Any) -> None:
    """Their spans follow one another: nothing is missing, and nothing there twice."""
    await open_many(4, "room")
    await eventually(lambda: in_thread(lambda: len(samples(alias)) > 3))
    spans = await in_thread(read_spans, alias)
    for before, after in itertools.pairwise(spans):
        assert after.start == before.end
    timeline = Timeline.of(spans, [], spans[-1].end + 10, steps=3)
    assert 0 < timeline.peak("streams") <= 4.0001


async def test_events_write_nothing(
    alias: str, statements: list[str], settings: Any, in_thread: Any
) -> None:
    """Between two renewals nothing is sampled, whatever is sent."""
    settings.DJANGO_SSE = {**settings.DJANGO_SSE, "LEASE_SECONDS": 3600}
    [stream] = await open_many(1, "room")
    await eventually(lambda: in_thread(samples, alias))
    del statements[:]
    for number in range(50):
        await apublish("room", str(number))
    await eventually(lambda: stream.events_sent == 50)
    await eventually(lambda: len(statements) >= 2)
    assert not [sql for sql in statements if "django_sse_sample" in sql]
