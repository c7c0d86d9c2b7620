"""A database that is missing, broken or away: streams go on, and it is told once."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connections as databases

from django_sse import apublish
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.models import Membership
from django_sse.reasons import CloseReason
from django_sse.registry.record import Record
from django_sse.testing import areset
from django_sse.visitors import Visitor
from tests.registry.conftest import Seen, open_many
from tests.servers.waiting import eventually

pytestmark = pytest.mark.registry


@pytest.fixture
def impatient(monkeypatch: Any) -> None:
    """Let a registrar try again at once, and not by and by."""
    monkeypatch.setattr("django_sse.registrar._MAX_BACKOFF_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_streams_go_on_without_the_tables(
    sqlite_database: str, settings: Any, caplog: Any, tmp_path: Path
) -> None:
    """A project that has not migrated has its streams, one line in its log, and a count."""
    # Not in memory: Django never closes the connection to that, and its thread may end.
    name = str(tmp_path / "empty.sqlite3")
    databases.settings["empty"] = {**databases.settings[sqlite_database], "NAME": name}
    settings.DJANGO_SSE = {**settings.DJANGO_SSE, "REGISTRY": "empty"}
    try:
        [stream, ended] = await open_many(2, "room")
        await eventually(lambda: metrics.registry_errors >= 1)
        ended.end(CloseReason.CLIENT)
        errors = metrics.registry_errors
        await eventually(lambda: metrics.registry_errors >= errors + 2)
        registrar: Any = get_hub().observer
        assert ended not in {*registrar._changed, *registrar._written}, "It is kept for ever."
        await apublish("room", "still here")
        await eventually(lambda: stream.events_sent == 1)
        told = [r for r in caplog.records if "fails as the registry is written" in r.message]
        assert [record.levelname for record in told].count("ERROR") == 1
    finally:
        await areset()
        del databases.settings["empty"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("step", ["_renew", "_write_rows", "_closing"])
async def test_database_that_comes_back(
    step: str, sqlite_alias: str, seen: Seen, monkeypatch: Any
) -> None:
    """Whichever step failed, the rows are those of the open streams then, each once."""
    real, failures = getattr(Record, step), [1, 1]

    def failing(self: Any, *args: Any) -> Any:
        result = real(self, *args)
        if failures:
            raise OSError(failures.pop())
        return result

    monkeypatch.setattr(Record, step, failing)
    streams = await open_many(3, "room", visitor=Visitor(user_id="1"))
    await eventually(lambda: metrics.registry_errors >= 1)
    streams[0].end(CloseReason.CLIENT)
    await streams[1].subscribe("more")
    found = await seen(2, group="room")
    assert [one.groups for one in await seen(1, group="more")] == [("more", "room")]
    assert {one.id for one in found} == {stream.id for stream in streams[1:]}
    await eventually(lambda: not failures)
    assert await Membership.objects.using(sqlite_alias).acount() == 3


@pytest.mark.usefixtures("impatient")
async def test_users_cannot_be_looked_at(settings: Any, monkeypatch: Any, caplog: Any) -> None:
    """The streams of users who are logged in go on, too."""
    settings.DJANGO_SSE = {"REGISTRY": False, "LEASE_SECONDS": 1}

    def look(*args: Any) -> Any:
        raise OSError("away")

    monkeypatch.setattr("django_sse.supervision.look", look)
    [stream] = await open_many(1, "room", visitor=Visitor(user_id="1"))
    await eventually(lambda: metrics.registry_errors >= 3)
    assert stream.reason is None
    assert "the rights of users are looked at (OSError: away)" in caplog.text


async def test_rows_that_cannot_be_deleted_do_not_hold_up_the_end(
    sqlite_alias: str, seen: Seen, monkeypatch: Any
) -> None:
    """Their lease runs out."""
    await open_many(1, "room")
    await seen(1)
    monkeypatch.setattr(Record, "leave", lambda self: 1 / 0)
    get_hub().shut_down()
    await eventually(lambda: metrics.registry_errors)
