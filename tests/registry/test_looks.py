"""What a look at the users of open streams ends, and what it must leave alone."""

import datetime
import logging
from collections.abc import Iterable
from typing import Any

import pytest
from django.contrib.auth.backends import AllowAllUsersModelBackend, BaseBackend, ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.backends import db as db_sessions
from django.contrib.sessions.models import Session
from django.utils import timezone

from django_sse.rights import UNSEEN, Standing, look
from django_sse.supervision import Supervision
from django_sse.visitors import Visitor

pytestmark = [pytest.mark.registry, pytest.mark.django_db(transaction=True)]

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"

#: The users whom ElsewhereBackend knows, by their ids.
elsewhere: dict[int, Any] = {}


class ElsewhereBackend(BaseBackend):
    """Knows users that are not in the table, or not as the table has them."""

    def get_user(self, user_id: Any) -> Any:
        """See BaseBackend."""
        return elsewhere.get(int(user_id))


class LaggingBackend(ModelBackend):
    """Reads from a replica, which has everything a little later."""

    def get_user(self, user_id: Any) -> Any:
        """See BaseBackend."""
        return elsewhere.get(int(user_id)) or super().get_user(user_id)


class SessionsInTwoPlaces(db_sessions.SessionStore):
    """Keeps some sessions where a look at the table does not find them."""

    kept: set[str] = set()

    def load(self) -> Any:
        """See SessionBase."""
        return {"kept": True} if self.session_key in self.kept else super().load()


@pytest.fixture(autouse=True)
def _empty() -> None:
    elsewhere.clear()
    SessionsInTwoPlaces.kept.clear()


def path_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def visitor(user: User, **changes: Any) -> Visitor:
    given = {"user_id": str(user.pk), "session_hash": user.get_session_auth_hash(), **changes}
    return Visitor(**{"backend": MODEL_BACKEND, **given})


def unexpected(what: str, error: Exception) -> None:
    raise AssertionError(what) from error


def first_look(*visitors: Visitor) -> dict[Visitor, Standing]:
    refused, standings = look(dict.fromkeys(visitors, UNSEEN), unexpected)
    assert refused == set(), "The first look has ended a stream."
    assert set(standings) == set(visitors)
    return standings


def refused_of(standings: dict[Visitor, Standing]) -> set[Visitor]:
    return look(standings, unexpected)[0]


def change_password(user: User) -> None:
    user.set_password("other")
    user.save()


def make_session(key: str, kind: type = db_sessions.SessionStore) -> dict[str, Any]:
    in_an_hour = timezone.now() + datetime.timedelta(hours=1)
    Session.objects.create(session_key=key, session_data="", expire_date=in_an_hour)
    return {"session_key": key, "session_type": kind}


def test_look_makes_three_queries_for_however_many(django_assert_max_num_queries: Any) -> None:
    """A thousand users cost as many queries as one, and two when nothing has changed."""
    User.objects.bulk_create(User(username=str(n), password="!") for n in range(1000))
    session = make_session("shared")
    everyone = [visitor(user, **session) for user in User.objects.all()]
    with django_assert_max_num_queries(3):
        standings = first_look(*everyone)
    with django_assert_max_num_queries(2):
        assert refused_of(standings) == set()
    User.objects.filter(username="7").update(password="?")
    with django_assert_max_num_queries(4):  # The fourth asks for the one who has lost something.
        refused = refused_of(standings)
    assert [one.user_id for one in refused] == [str(User.objects.get(username="7").pk)]


def test_first_look_only_takes_down_what_there_is() -> None:
    """Whatever it finds, or not: that need not be the user, the row or the session there was."""
    ada = User.objects.create_user("ada", password="secret")
    late, inactive = visitor(ada), visitor(User.objects.create_user("ben", is_active=False))
    change_password(ada)
    no_session = visitor(ada, session_key="none", session_type=db_sessions.SessionStore)
    strangers = [Visitor(user_id="99999", session_hash="x"), Visitor(user_id="cn=ada")]
    standings = first_look(late, inactive, no_session, *strangers)
    seen = {one: standing for one, standing in standings.items() if standing != UNSEEN}
    assert list(seen) == [no_session]
    assert not seen[no_session].has_session
    assert refused_of(standings) == set()


def test_row_of_another_user_with_the_same_id() -> None:
    """As in another tenant's schema: what becomes of them is not the visitor's business."""
    namesake = User.objects.create_user("ada", password="secret")
    standings = first_look(visitor(namesake, session_hash="made by another row"))
    change_password(namesake)
    User.objects.update(is_active=False)
    assert refused_of(standings) == set()
    User.objects.all().delete()
    assert refused_of(standings) == set()


def test_what_becomes_visible_later_counts_from_then_on() -> None:
    """A row that was not committed, or not replicated, when its user was first looked at."""
    user = User(pk=7, username="ada", password="!")
    standings = first_look(visitor(user))
    user.save(force_insert=True)
    _, standings = look(standings, unexpected)
    User.objects.update(is_active=False)
    assert refused_of(standings) == {visitor(user)}


def test_user_of_another_class_is_not_looked_at() -> None:
    """One who came with a token, and is of no table here, has nothing to do with its rows."""
    namesake = User.objects.create_user("ada")
    device = Visitor(user_id=str(namesake.pk), user_type=type("Device", (), {}))
    user = Visitor(user_id=str(namesake.pk), user_type=User)
    standings = first_look(device, user)
    User.objects.update(is_active=False)
    assert refused_of(standings) == {user}


def test_backend_that_still_knows_the_user(settings: Any) -> None:
    """Django would let them in at their next request: the stream goes on until it would not."""
    settings.AUTHENTICATION_BACKENDS = [path_of(ElsewhereBackend), MODEL_BACKEND]
    user = User.objects.create_user("ada")
    by_another = visitor(user, backend=path_of(ElsewhereBackend))
    by_model = visitor(user)
    standings = first_look(by_another, by_model)
    elsewhere[user.pk] = user
    User.objects.all().delete()
    refused, standings = look(standings, unexpected)
    assert refused == {by_model}
    elsewhere.clear()
    assert refused_of(standings) == {by_another}


def test_replica_that_lags(settings: Any) -> None:
    """The stream goes on while the backend's reads are behind, and no longer."""
    settings.AUTHENTICATION_BACKENDS = [path_of(LaggingBackend)]
    user = User.objects.create_user("ada")
    elsewhere[user.pk] = User.objects.get()
    one = visitor(user, backend=path_of(LaggingBackend))
    standings = first_look(one)
    change_password(user)
    refused, standings = look(standings, unexpected)
    assert refused == set()
    elsewhere.clear()
    assert refused_of(standings) == {one}


class ReadsFromReplica:
    """A database router."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        """See Django's documentation of routers."""
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        """See Django's documentation of routers."""
        return "default"


def test_look_reads_where_it_is_written(settings: Any) -> None:
    """A replica may not have the rows of a moment ago; here there is not even one."""
    user = User.objects.create_user("ada")
    settings.DATABASE_ROUTERS = [ReadsFromReplica()]
    [standing] = first_look(visitor(user, **make_session("key"))).values()
    assert standing.has_session
    assert standing.columns


def test_session_that_its_own_engine_still_has() -> None:
    """What a look at the table seems to tell is asked of the engine before it is believed."""
    user = User.objects.create_user("ada")
    kept = visitor(user, **make_session("kept-for-long", SessionsInTwoPlaces))
    gone = visitor(user, **make_session("gone-for-good", SessionsInTwoPlaces))
    standings = first_look(kept, gone)
    SessionsInTwoPlaces.kept.add("kept-for-long")
    Session.objects.all().delete()
    assert refused_of(standings) == {gone}


def test_look_asks_the_backends(settings: Any) -> None:
    """Where one of them lets inactive users in, they are let in."""
    settings.AUTHENTICATION_BACKENDS = [path_of(AllowAllUsersModelBackend)]
    user = User.objects.create_user("ada")
    standings = first_look(visitor(user, backend=path_of(AllowAllUsersModelBackend)))
    User.objects.update(is_active=False)
    refused, standings = look(standings, unexpected)
    assert refused == set()
    assert refused_of(standings) == set()


def test_look_accepts_the_former_secret_key(settings: Any) -> None:
    """A session that was made with it is valid for Django, too, and is lost as any other."""
    user = User.objects.create_user("ada", password="secret")
    made = visitor(user)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "new"
    standings = first_look(made)
    assert standings[made].columns
    change_password(user)
    assert refused_of(standings) == {made}


def raise_for(user: User, monkeypatch: Any) -> None:
    real = User.get_session_auth_hash

    def get_session_auth_hash(self: User) -> str:
        if self.pk == user.pk:
            raise ValueError("no hash")
        return real(self)

    monkeypatch.setattr(User, "get_session_auth_hash", get_session_auth_hash)


def test_user_who_cannot_be_looked_at_does_not_keep_others_from_it(monkeypatch: Any) -> None:
    """Nor do they lose anything by that."""
    odd, ben = User.objects.create_user("odd"), User.objects.create_user("ben")
    visitors = [visitor(odd), visitor(ben)]
    standings = first_look(*visitors)
    raise_for(odd, monkeypatch)
    User.objects.update(is_active=False)
    told: list[str] = []
    refused, _ = look(standings, lambda what, error: told.append(f"{what}: {error}"))
    assert refused == {visitors[1]}
    assert told == ["a user: no hash"]


class BrokenStore(db_sessions.SessionStore):
    """A custom engine that has no such columns as Django's."""

    @classmethod
    def get_model_class(cls) -> Any:
        """See SessionStore."""
        return User


def test_sessions_that_cannot_be_looked_at() -> None:
    """Users are looked at all the same, and sessions of other engines."""
    user = User.objects.create_user("ada")
    broken = visitor(user, session_key="a", session_type=BrokenStore)
    sound = visitor(user, **make_session("b"))
    told: list[str] = []

    def tell(what: str, error: Exception) -> None:
        told.append(what)

    _, standings = look(dict.fromkeys([broken, sound], UNSEEN), tell)
    assert standings[broken].columns
    assert standings[sound].has_session
    assert told == [f"sessions of {__name__}"]
    Session.objects.all().delete()
    assert look(standings, tell)[0] == {sound}


def test_database_in_memory_is_not_looked_at(monkeypatch: Any) -> None:
    """No other process changes it, and reading it would keep a test from writing to it."""
    user = User.objects.create_user("ada")
    monkeypatch.setattr("django_sse.rights.is_shared", lambda alias: False)
    one = visitor(user, **make_session("key"))
    assert first_look(one) == {one: UNSEEN}


class Stream:
    """A stream of a visitor."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor


def supervise(visitors: Iterable[Visitor], times: Iterable[float]) -> Supervision:
    supervision = Supervision(iter(times).__next__)
    for one in visitors:
        supervision.add(Stream(one))
    return supervision


async def test_new_users_are_looked_at_soon_and_the_others_by_turns(monkeypatch: Any) -> None:
    """All but the new ones wait for some seconds; each has their turn."""
    looked: list[set[str]] = []

    def note(visitors: Any, tell: Any) -> Any:
        looked.append({visitor.user_id for visitor in visitors})
        return set(), {visitor: Standing(True, None) for visitor in visitors}

    monkeypatch.setattr("django_sse.supervision.look", note)
    monkeypatch.setattr("django_sse.supervision._LOOKS_AT_ONCE", 2)
    supervision = supervise([Visitor(user_id=n) for n in "abc"], [0, 1, 2, 4, 8, 12])
    await supervision.look()  # At 0, when the first is due.
    await supervision.look()  # At 1: nobody.
    supervision.add(Stream(Visitor(user_id="d")))
    for _ in range(4):
        await supervision.look()
    assert looked[:2] == [set("abc"), {"d"}]
    assert [len(some) for some in looked[2:]] == [2, 2, 2]
    assert looked[2] | looked[3] == set("abcd")
    assert looked[4] == looked[2]


async def test_what_fails_of_one_user_is_logged_once(
    monkeypatch: Any, caplog: Any, sync: Any
) -> None:
    """And not at each look, for as long as their stream is open."""
    user = await sync(User.objects.create_user, "odd")
    raise_for(user, monkeypatch)
    one = Visitor(user_id=str(user.pk), session_hash="x")
    supervision = supervise([one], [0, 10, 20])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert await supervision.look() == []
    assert len([r for r in caplog.records if "cannot be looked at" in r.message]) == 1
