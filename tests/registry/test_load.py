"""What idle streams cost the database, and what a project notices of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.utils import timezone

from django_sse import aconnections
from django_sse.hub import get_hub
from django_sse.metrics import metrics
from django_sse.models import Membership, PresentUser
from django_sse.reasons import CloseReason
from django_sse.visitors import Visitor
from tests.registry.conftest import Seen, open_many
from tests.registry.test_connections import add_dead_worker
from tests.registry.test_presence import open_present
from tests.servers.waiting import eventually

pytestmark = pytest.mark.registry

ADA = Visitor(user_id="1")


class Clock:
    """A time that goes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    """What registrars go by; their own task does nothing."""
    clock = Clock()

    async def rest(self: Any) -> None:
        await get_hub().loop.create_future()

    monkeypatch.setattr("django_sse.registrar.Registrar._rest", rest)
    return clock


async def test_idle_streams_of_users_make_about_one_query_a_second(
    settings: Any,
    transactional_db: None,
    clock: Clock,
    statements: list[str],
    sync: Any,
) -> None:
    """And one turn at the database in two, in which the registry and the users share a thread."""
    settings.DJANGO_SSE = {"REGISTRY": True}
    await open_many(3, "room", visitor=await sync(make_visitor))
    registrar: Any = get_hub().observer
    registrar._clock = clock
    try:
        await get_hub().spawn(registrar._turn())
        assert len(registrar._supervision._known) == 1
        del statements[:]
        busy = 0
        for _ in range(60):
            clock.now += 1.0
            before = len(statements)
            await get_hub().spawn(registrar._turn())
            busy += len(statements) > before
        assert metrics.registry_errors == 0
        found = [sql for sql in statements if "django_sse" not in sql]
        assert 20 <= len(found) <= 40, "Users and sessions are not looked at as said."
        assert 40 <= len(statements) <= 110  # With eight renewals, and their samples.
        assert 20 <= busy <= 40
    finally:
        registrar._hub.shut_down()


def make_visitor() -> Visitor:
    user = User.objects.create_user("ada")
    Session.objects.create(session_key="k" * 32, session_data="", expire_date=timezone.now())
    Session.objects.update(expire_date="2100-01-01T00:00:00Z")
    return Visitor(
        user_id=str(user.pk),
        session_hash=user.get_session_auth_hash(),
        session_key="k" * 32,
        session_type=SessionStore,
    )


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What a project is told that listens to the signals of all models, as audit logs do."""
    signals = [pre_save, post_save, pre_delete, post_delete]
    given: list[Any] = []

    def note(sender: Any, **kwargs: Any) -> None:
        given.append(sender)

    for signal in signals:
        signal.connect(note, weak=False)
    yield given
    for signal in signals:
        signal.disconnect(note)


async def test_registry_sends_no_signals_of_its_models(
    alias: str, seen: Seen, in_thread: Any, told: list[Any], statements: list[str]
) -> None:
    """Nor does it load what it deletes for the sake of those who listen."""
    await in_thread(add_dead_worker, alias)
    del told[:]
    present = PresentUser.objects.using(alias)
    ada = await open_present(ADA, "room")
    await seen(1)
    await eventually(present.aexists)
    ada.end(CloseReason.CLIENT)
    await seen(0)
    await eventually(lambda: _is_empty(present))
    await eventually(lambda: _is_empty(Membership.objects.using(alias)))
    get_hub().shut_down()
    registrar: Any = get_hub().observer
    await eventually(lambda: not registrar._record.is_written)
    assert told == []


async def _is_empty(rows: Any) -> bool:
    return not await rows.aexists()


async def test_failure_that_comes_and_goes_is_logged_once(
    sqlite_alias: str, seen: Seen, monkeypatch: Any, caplog: Any
) -> None:
    """As in a rolling upgrade, where a column is missing that only some writes need."""
    monkeypatch.setattr("django_sse.registrar._MAX_BACKOFF_SECONDS", 0.01)
    await open_many(1, "room")
    await seen(1)
    registrar: Any = get_hub().observer
    write, turns = registrar._record.write, iter(range(1000))

    def every_other(batch: Any) -> Any:
        if next(turns) % 2:
            raise OSError("no such column")
        return write(batch)

    monkeypatch.setattr(registrar._record, "write", every_other)
    await eventually(lambda: metrics.registry_errors >= 3)
    told = [record for record in caplog.records if "no such column" in record.message]
    assert [record.levelname for record in told].count("ERROR") == 1
    assert len(await aconnections()) == 1
