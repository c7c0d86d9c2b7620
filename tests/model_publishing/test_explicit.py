"""Telling of rows that Django sends no signal of."""

import tracemalloc
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from django_sse import suppress_publishing
from django_sse.metrics import metrics
from tests.model_publishing.told import changes
from tests.models import ExportOrder, Order, Tag, UrgentOrder

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = {"status": "open"}
PAID = {"status": "paid"}


@pytest.fixture
def publisher(publish_model):
    return publish_model()


@pytest.fixture
def orders(told, publisher):
    Order.objects.bulk_create(Order() for _ in range(3))
    assert told == []
    return Order.objects.all()


def test_update(told, publisher, orders, django_assert_num_queries):
    """Outside of a transaction the rows are told at once; that is one query."""
    orders.update(status="paid")
    with django_assert_num_queries(1):
        publisher.publish(orders)
    assert changes(told) == [("updated", PAID)] * 3


def test_inside_a_transaction(told, publisher, orders, django_assert_num_queries):
    """They are read after the commit, in their last state."""
    with transaction.atomic():
        orders.update(status="paid")
        with django_assert_num_queries(0):
            publisher.publish(orders)
        orders.update(status="sent")
        assert told == []
    assert changes(told) == [("updated", {"status": "sent"})] * 3


def test_rollback(told, publisher, orders):
    """Nothing is told."""
    with transaction.atomic():
        publisher.publish(orders)
        publisher.publish(orders, change="deleted")
        transaction.set_rollback(True)
    assert told == []


def test_bulk_create_and_bulk_update(told, publisher, orders):
    """The change is named."""
    publisher.publish(orders, change="created")
    assert changes(told) == [("created", OPEN)] * 3
    rows = list(orders)
    for row in rows:
        row.status = "paid"
    Order.objects.bulk_update(rows, ["status"])
    publisher.publish(Order.objects.filter(pk__in=[row.pk for row in rows]))
    assert changes(told) == [("updated", PAID)] * 3


def test_deleted(told, publish_model, alice, django_assert_num_queries):
    """Called before, it keeps the keys and the groups, and tells after the commit."""
    publisher = publish_model(get_groups=lambda self, order: [order.owner.name])
    pks = [Order.objects.create(owner=alice).pk for _ in range(2)]
    told.clear()
    with transaction.atomic():
        publisher.publish(Order.objects.select_related("owner"), change="deleted")
        Order.objects.all()._raw_delete("default")
        assert told == []
    assert [(one.event, one.data, one.groups) for one in told] == [
        ("order.deleted", {"id": pk}, ["alice"]) for pk in pks
    ]


def test_deleted_row_as_it_was(told, publish_model):
    """Methods of the publisher are asked while the row is there."""
    publisher = publish_model(
        get_data=lambda self, order, change: f"{order.status} {change}",
        should_publish=lambda self, order, change: order.status == "paid",
        get_groups=lambda self, order: [tag.label for tag in order.tags.all()],
    )
    with suppress_publishing():
        order = Order.objects.create(status="paid")
        order.tags.add(Tag.objects.create(label="x"))
        Order.objects.create()
    with transaction.atomic():
        publisher.publish(Order.objects.all(), change="deleted")
        with suppress_publishing():
            Order.objects.all().delete()
        assert told == []
    assert [(one.event, one.data, one.groups) for one in told] == [
        ("order.deleted", "paid deleted", ["x"])
    ]


def test_deleted_row_of_which_the_groups_fail(told, publish_model, caplog):
    """That is logged; the others are told, and who deletes them does not know of it."""

    def get_groups(self: Any, order: Order) -> list[str]:
        if order.status == "open":
            raise RuntimeError("broken")
        return ["all"]

    publisher = publish_model(get_groups=get_groups)
    Order.objects.bulk_create([Order(), Order(status="paid")])
    publisher.publish(Order.objects.all(), change="deleted")
    assert [change for change, _ in changes(told)] == ["deleted"]
    assert metrics.publish_errors == 1


def test_deleted_row_that_cannot_be_sent(publish_model, caplog):
    """Likewise."""
    publisher = publish_model(get_data=lambda self, order, change: object())
    Order.objects.bulk_create([Order()])
    with transaction.atomic():
        publisher.publish(Order.objects.all(), change="deleted")
    assert metrics.publish_errors == 1
    assert "It could not be told that a row was deleted." in caplog.text


def test_memory_of_deleted_rows(told, publish_model):
    """However large they are, the key and the groups are kept."""
    publisher = publish_model(fields=["details"], live=True)
    Order.objects.bulk_create(Order(details={"text": "x" * 5_000}) for _ in range(500))
    with transaction.atomic():
        tracemalloc.start()
        try:
            publisher.publish(Order.objects.all(), change="deleted")
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert held / 500 < 1_500
        transaction.set_rollback(True)


def test_rows_of_models_that_inherit(told, publish_model):
    """Each publisher of this class that is for the rows tells of them."""
    publisher = publish_model()
    ExportOrder.objects.create()
    told.clear()
    publisher.publish(ExportOrder.objects.all())
    publisher.publish(UrgentOrder.objects.all())
    assert changes(told) == [("updated", OPEN)] * 2


def test_it_is_not_suppressed(told, publisher, orders):
    """Who calls it wants it."""
    with suppress_publishing():
        publisher.publish(orders)
    assert len(told) == 3


def test_wrong_change(publisher, orders):
    """It is refused, with what there is."""
    with pytest.raises(ValueError, match="change='moved' is none of 'created', 'updated'"):
        publisher.publish(orders, change="moved")


@pytest.mark.parametrize("what", ["order", "manager", "raw"])
def test_no_queryset(publisher, what):
    """It is refused, with what it takes."""
    raw = Order.objects.raw("SELECT * FROM tests_order")
    given = {"order": Order(), "manager": Order.objects, "raw": raw}[what]
    with pytest.raises(
        TypeError, match=r"OrderPublisher\.publish\(\) was given .*; it takes a Qu"
    ):
        publisher.publish(given)


def test_queryset_of_no_instances(publisher, orders):
    """It is refused, with what to do."""
    with pytest.raises(TypeError, match=r"queryset of values\(\) .* Leave that out"):
        publisher.publish(orders.values("id"))


def test_not_registered(publisher):
    """It is refused, with what to do."""
    with pytest.raises(LookupError, match=r"not registered for tests\.Tag.*@register\(Tag\)"):
        publisher.publish(Tag.objects.all())


def test_database_that_fails(told, publisher, orders, caplog):
    """After the commit nothing is raised: it must not look as if that had failed."""
    broken = orders.extra(where=["no_such_column"])
    with transaction.atomic():
        orders.update(status="paid")
        publisher.publish(broken)
    assert Order.objects.filter(status="paid").count() == 3
    assert metrics.publish_errors == 1
    assert "The rows that were updated could not be read." in caplog.text


def test_row_that_fails(told, publish_model, orders, caplog):
    """Others are told."""

    def get_data(self: Any, order: Order, change: str) -> str:
        if order == orders[1]:
            raise RuntimeError("broken")
        return "ok"

    publish_model(get_data=get_data).publish(orders)
    assert [one.data for one in told] == ["ok", "ok"]
    assert metrics.publish_errors == 1


async def test_apublish(told, publisher, transactional_db):
    """The same from a coroutine."""
    await Order.objects.abulk_create([Order(), Order()])
    await publisher.apublish(Order.objects.all(), change="created")
    assert changes(told) == [("created", OPEN)] * 2
    await sync_to_async(connections.close_all)()


def test_memory_is_constant(told, publish_model, monkeypatch):
    """Five times the rows take no more."""
    publisher = publish_model()
    monkeypatch.setattr("django_sse.model_publishing.publishers.publish", lambda *a, **k: None)

    def peak(count: int) -> int:
        Order.objects.all()._raw_delete("default")
        Order.objects.bulk_create(Order(status="x" * 20) for _ in range(count))
        tracemalloc.start()
        try:
            publisher.publish(Order.objects.all())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(5_000) < 2 * peak(1_000)
