"""Models that are more than one table with a number for its key."""

from collections.abc import Iterator
from typing import Any

import pytest

from django_sse import ModelPublisher, subscribe_queryset
from django_sse.model_publishing.registry import register, unregister
from tests.live_querysets.reading import read
from tests.models import Account, ExportOrder, Order, Seat, Tag, UrgentOrder


class OrderPublisher(ModelPublisher):
    """Tells of orders."""

    live = True
    fields = ["id", "status"]


class SeatPublisher(ModelPublisher):
    """Tells of seats."""

    live = True
    fields = ["row", "number", "guest"]


@pytest.fixture(autouse=True)
def publishers() -> Iterator[None]:
    register(Order, OrderPublisher)
    register(Seat, SeatPublisher)
    yield
    unregister(Order, Seat)


@pytest.mark.parametrize("model", [Order, UrgentOrder])
@pytest.mark.parametrize("saved", [Order, UrgentOrder, ExportOrder])
async def test_proxies_and_models_that_inherit(sync: Any, model: Any, saved: Any) -> None:
    """Whichever class is saved, its row is followed by the queryset of a parent, or a proxy."""
    async with subscribe_queryset(model.objects.filter(status="open")) as events:
        assert await read(events, 1) == [("snapshot", 0)]
        row = await sync(saved.objects.create)
        pk = row.pk
        assert await read(events, 1) == [("enter", pk)]
        await sync(row.save)
        assert await read(events, 1) == [("change", pk)]
        await sync(row.delete)
        assert await read(events, 1) == [("leave", pk)]


async def test_queryset_of_a_model_that_inherits(sync: Any) -> None:
    """It is followed by its parent's publisher, and has the rows of its own."""
    async with subscribe_queryset(ExportOrder.objects.filter(status="open")) as events:
        assert await read(events, 1) == [("snapshot", 0)]
        await sync(Order.objects.create)
        row = await sync(ExportOrder.objects.create, country="DE")
        assert await read(events, 1) == [("enter", row.pk)]


async def test_queryset_of_a_related_manager(sync: Any, monkeypatch: Any) -> None:
    """What its rows say of their owner is read with them, not what it was at the beginning."""
    monkeypatch.setattr(OrderPublisher, "get_data", lambda self, order, change: order.owner.name)
    account = await sync(Account.objects.create, name="old")
    order = await sync(Order.objects.create, owner=account)
    async with subscribe_queryset(account.order_set.all()) as events:
        assert [(await anext(events)).data for _ in range(2)] == [{"count": 1}, "old"]
        await sync(Account.objects.update, name="new")
        await sync(order.save)
        assert (await anext(events)).data == "new"


async def test_relation_of_the_model(sync: Any) -> None:
    """A many-to-many relation that changes is a change of its row, and may decide of it."""
    order, tag = await sync(Order.objects.create), await sync(Tag.objects.create, label="new")
    async with subscribe_queryset(Order.objects.filter(tags__label="new")) as events:
        assert await read(events, 1) == [("snapshot", 0)]
        await sync(order.tags.add, tag)
        assert await read(events, 1) == [("enter", order.pk)]
        await sync(tag.orders.clear)
        assert await read(events, 1) == [("leave", order.pk)]


async def test_key_of_two_columns(sync: Any) -> None:
    """Its rows are told by both."""
    first = await sync(Seat.objects.create, row="a", number=1)
    async with subscribe_queryset(Seat.objects.filter(guest="")) as events:
        assert (await anext(events)).data == {"count": 1}
        assert (await anext(events)).data == {"row": "a", "number": 1, "guest": ""}
        await sync(Seat.objects.create, row="b", number=2)
        assert (await anext(events)).data == {"row": "b", "number": 2, "guest": ""}
        first.guest = "Ada"
        await sync(first.save)
        event = await anext(events)
        assert (event.event, event.text()) == ("leave", '{"pk":["a",1]}')
