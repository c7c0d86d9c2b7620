"""The news of rows, for those who follow querysets."""

import pytest
from django.db import transaction

from django_sse.model_publishing.rows import changed_rows, rows_group
from tests.model_publishing.told import changes
from tests.models import ExportOrder, Order, Seat, Tag, UrgentOrder

pytestmark = pytest.mark.django_db(transaction=True)


def news(told):
    """Return the groups and keys of what was told of rows; forget all."""
    found = [(group, one.data, one.key) for one in told for group in one.groups if "sse" in group]
    told.clear()
    return found


def test_each_change_of_a_row(told, publish_model):
    """After the commit, whatever a publisher tells of it; with its key, which is enough."""
    publish_model(live=True, on=[])
    order = Order.objects.create()
    key, group = str(order.pk), rows_group(Order)
    assert news(told) == [(group, key, key)]
    order.save()
    order.tags.add(Tag.objects.create(label="x"))
    assert news(told) == [(group, key, key)] * 2
    with transaction.atomic():
        order.delete()
        assert told == []
    assert news(told) == [(group, key, key)]


def test_nothing_where_querysets_are_not_followed(told, publish_model):
    """A publisher says whether they can be."""
    publish_model()
    Order.objects.create()
    assert news(told) == []


def test_explicit_publishing(told, publish_model):
    """It is news, too."""
    publisher = publish_model(live=True)
    order = Order.objects.create()
    told.clear()
    for change in ("updated", "deleted"):
        publisher.publish(Order.objects.all(), change=change)
        assert news(told) == [(rows_group(Order), str(order.pk), str(order.pk))]


def test_rows_of_a_proxy_are_those_of_its_model(told, publish_model):
    """Whichever of the two is registered."""
    assert rows_group(UrgentOrder) == rows_group(Order)
    publish_model(UrgentOrder, live=True)
    order = UrgentOrder.objects.create()
    assert [group for group, *_ in news(told)] == [rows_group(Order)]
    assert order.pk


def test_row_of_two_tables(told, publish_model):
    """Those who follow either hear of it."""
    publish_model(live=True)
    ExportOrder.objects.create(country="NL")
    assert sorted(group for group, *_ in news(told)) == sorted(
        [rows_group(ExportOrder), rows_group(Order)]
    )


def test_keys_are_read_back():
    """As the model's field reads them."""
    assert changed_rows(Order, ["1", "2", "1"]) == {1, 2}


def test_composite_key(told, publish_model):
    """It goes as text, too."""
    publish_model(Seat, fields=["guest"], live=True)
    Seat.objects.create(row="A", number=7)
    [(_, key, _)] = news(told)
    assert changed_rows(Seat, [key]) == {("A", 7)}


def test_publishing_is_not_changed_by_it(told, publish_model):
    """The publisher's own events are as they are."""
    publish_model(live=True)
    Order.objects.create()
    told[:] = [one for one in told if one.groups == ["all"]]
    assert changes(told) == [("created", {"status": "open"})]
