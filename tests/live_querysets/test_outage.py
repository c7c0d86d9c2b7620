"""Followed querysets of a PostgreSQL that is restarted."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.base import NO_DB_ALIAS

from django_sse import subscribe_queryset
from django_sse.metrics import metrics
from django_sse.testing import reset
from tests.clients import until
from tests.faults.postgresql_server import PostgresqlServer
from tests.live_querysets.reading import named, read
from tests.models import Room

pytestmark = [pytest.mark.faults, pytest.mark.postgresql]

# The only one that Django's test case allows beside those of the settings.
ALIAS = NO_DB_ALIAS


@pytest.fixture
def server(transactional_db: None) -> Iterator[PostgresqlServer]:
    """A PostgreSQL of the test's own, with the table of the rooms."""
    server = PostgresqlServer()
    known = connections.settings
    try:
        server.create()
        entry = server.new_database()["default"]
        connections.settings = connections.configure_settings({**known, ALIAS: entry})
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(Room)
        connections[ALIAS].close()
        yield server
    finally:
        reset()  # The shared threads close only connections of which there are settings.
        connections.settings = known
        del connections[ALIAS]
        server.remove()


async def test_nothing_is_lost_by_a_restart(
    server: PostgresqlServer, sync: Any, reads: Any
) -> None:
    """What changed before is told when the server is back, and who came meanwhile begins then."""
    queryset = named("open").using(ALIAS)
    room = await sync(Room.objects.using(ALIAS).create, slug="a", name="open")
    async with subscribe_queryset(queryset) as one:
        assert await read(one, 2) == [("snapshot", 1), ("enter", "a")]
        async with reads.gate.held(sync(room.save)):
            await asyncio.to_thread(server.stop, mode="immediate")
        await until(lambda: metrics.store_errors > 1, timeout=20)
        async with subscribe_queryset(queryset) as two:
            await asyncio.to_thread(server.start)
            assert await read(two, 2) == [("snapshot", 1), ("enter", "a")]
            assert await read(one, 1) == [("change", "a")]
            room.slug = "b"
            await sync(room.save)
            assert await read(one, 1) == await read(two, 1) == [("change", "b")]
