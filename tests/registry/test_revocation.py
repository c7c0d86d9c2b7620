"""The receivers of Django's signals: when they give an order, and that they do no harm."""

import threading
from typing import Any

import pytest
from channels.layers import channel_layers
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from django_sse.metrics import metrics
from django_sse.orders import Order
from django_sse.reasons import CloseReason
from tests.fake_layer import FakeLayer
from tests.servers.waiting import eventually

pytestmark = [pytest.mark.registry, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def orders(monkeypatch: Any) -> list[Order]:
    """The orders that are given."""
    given: list[Order] = []
    monkeypatch.setattr("django_sse.revocation.end_streams_soon", given.append)
    return given


@pytest.fixture
def ada() -> User:
    """A user, as loaded from the database."""
    User.objects.create_user("ada", password="secret")
    return User.objects.get()


def order_for(user: User) -> Order:
    return Order(user=str(user.pk), reason=CloseReason.LOGGED_OUT)


def test_save_that_makes_inactive_gives_one_order(orders: list[Order], ada: User) -> None:
    """And the saves after it, of one who is inactive already, none."""
    ada.is_active = False
    ada.save()
    assert orders == [order_for(ada)]
    ada.first_name = "Ada"
    ada.save()
    ada.save(update_fields=["last_login"])
    User.objects.get().save()
    assert len(orders) == 1
    User.objects.update(is_active=True)
    ada.save(update_fields=["is_active"])
    assert len(orders) == 2


def test_save_that_names_an_unchanged_password(orders: list[Order], ada: User) -> None:
    """As libraries do that always name every field."""
    ada.save(update_fields=["password", "is_active", "last_login"])
    assert orders == []
    ada.password = "another hash"
    ada.save(update_fields=["password"])
    assert orders == [order_for(ada)]


def test_new_password_gives_an_order(orders: list[Order], ada: User) -> None:
    """One."""
    ada.set_password("other")
    ada.save()
    ada.save()
    assert orders == [order_for(ada)]


def test_new_password_that_is_not_written(orders: list[Order], ada: User) -> None:
    """It is not the user's until it is."""
    ada.set_password("other")
    ada.save(update_fields=["first_name"])
    assert orders == []


def test_ordinary_save_makes_no_more_queries(
    orders: list[Order], ada: User, django_assert_num_queries: Any
) -> None:
    """One UPDATE, as without the app."""
    ada.first_name = "Ada"
    with django_assert_num_queries(1):
        ada.save(update_fields=["first_name"])
    with django_assert_num_queries(1):
        ada.save()


def test_save_that_fails_gives_no_order(orders: list[Order], ada: User, monkeypatch: Any) -> None:
    """Nor does it leave word for the next."""
    ada.set_password("other")
    with monkeypatch.context() as patched:
        patched.setattr(User, "_save_table", failing)
        with pytest.raises(OSError, match="full"):
            ada.save()
    vars(ada)["_password"] = None
    ada.save(update_fields=["first_name"])
    assert orders == []


def failing(*args: Any, **kwargs: Any) -> None:
    raise OSError("full")


def test_save_and_deletion_wait_for_the_commit(orders: list[Order], ada: User) -> None:
    """A logout does not: its session is gone whatever becomes of the transaction."""
    client = Client()
    client.force_login(ada)
    other = User.objects.create_user("ben")
    with transaction.atomic():
        client.logout()
        assert [order.user for order in orders] == [None]
        ada.set_password("other")
        ada.save()
        other_order = order_for(other)
        other.delete()
        assert len(orders) == 1
    assert orders[1:] == [order_for(ada), other_order]


@pytest.mark.parametrize(
    "where", ["Order.of", "may_log_in", "transaction.on_commit", "end_streams_soon"]
)
@pytest.mark.parametrize("is_atomic", [False, True])
def test_receiver_that_fails_does_not_raise(
    where: str, is_atomic: bool, ada: User, monkeypatch: Any, caplog: Any
) -> None:
    """Nor does it undo what its caller has saved; it is logged and counted."""
    monkeypatch.setattr(f"django_sse.revocation.{where}", failing)
    client = Client()
    client.force_login(ada)

    def lose() -> None:
        client.logout()
        ada.is_active = False
        ada.set_password("other")
        ada.save()

    if is_atomic:
        with transaction.atomic():
            lose()
    else:
        lose()
    assert not User.objects.get(is_active=False).check_password("secret")
    expected = 0 if where == "may_log_in" else 1
    assert metrics.registry_errors >= expected
    assert ("were not ended" in caplog.text) == bool(expected)


def test_backends_that_cannot_be_loaded(ada: User, settings: Any, caplog: Any) -> None:
    """A save of one who becomes inactive asks them."""
    settings.AUTHENTICATION_BACKENDS = ["no.such.Backend"]
    ada.is_active = False
    ada.save()
    assert not User.objects.get().is_active
    assert metrics.registry_errors == 1
    assert "were not ended" in caplog.text


def test_save_in_a_broken_transaction_raises_what_it_would(ada: User) -> None:
    """Django's own error, and not one of a query of the receiver's."""
    ada.is_active = False
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            ada.save()
    assert metrics.registry_errors == 0


@pytest.fixture
def fake_layer() -> FakeLayer:
    """A channel layer that may have other processes behind it."""
    channel_layers.set("default", layer := FakeLayer())
    return layer


@pytest.mark.parametrize("has_registry", [False, True])
def test_nobody_waits_for_the_layer_or_the_registry(
    has_registry: bool, ada: User, monkeypatch: Any, settings: Any, fake_layer: FakeLayer
) -> None:
    """A request whose user logs out goes on while neither has answered yet."""
    settings.DJANGO_SSE = {"REGISTRY": has_registry}
    asked, answered = threading.Event(), threading.Event()

    async def group_send(group: str, message: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        asked.set()
        await eventually(answered.is_set)

    noted = threading.Event()

    def note(order: Order) -> int:
        noted.set()
        return 0

    monkeypatch.setattr(fake_layer, "group_send", group_send)
    monkeypatch.setattr("django_sse.control._note", note)
    client = Client()
    client.force_login(ada)
    client.logout()
    assert asked.wait(10)
    assert not noted.is_set()
    answered.set()
    if has_registry:
        assert noted.wait(10)


@pytest.mark.django_db(transaction=False)
def test_logout_in_a_test_case_leaves_nothing_behind(ada: User, monkeypatch: Any) -> None:
    """Its rows are nobody else's: no thread comes to its database, perhaps after its end."""
    posted: list[str] = []
    monkeypatch.setattr("django_sse.loops.post", lambda name, *args: posted.append(name))
    client = Client()
    client.force_login(ada)
    client.logout()
    assert posted == []
    assert metrics.registry_errors == 0


@pytest.mark.parametrize("is_shared", [True, False])
def test_logout_is_noted_where_others_see_it(is_shared: bool, ada: User, monkeypatch: Any) -> None:
    """By a thread of the package, with nobody waiting for it; in memory there are no others."""
    monkeypatch.setattr("django_sse.control.is_shared", lambda alias: is_shared)
    posted: list[str] = []

    def post(name: str, coroutine: Any, context: Any) -> None:
        posted.append(name)
        coroutine.close()

    monkeypatch.setattr("django_sse.loops.post", post)
    client = Client()
    client.force_login(ada)
    client.logout()
    assert posted == ["orders"] * is_shared
