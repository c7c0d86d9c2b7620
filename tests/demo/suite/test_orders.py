"""The orders: what the board shows of them, and what their owners are told."""

import re
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core import serializers
from django.db import transaction

from demo_project.inbox.models import Note
from demo_project.orders.models import Order


@pytest.fixture
def order(demo_data: dict[str, User]) -> Order:
    """Return an open order of Ada's."""
    return Order.objects.create(
        number="T-1", customer="Tea & <cake>", owner=demo_data["ada"], total=Decimal("7.5")
    )


def test_page_shows_the_open_orders(client, demo_data):
    """What is shipped or cancelled is not on the board, and the newest is the first."""
    html = client.get("/orders/").content.decode()
    shown = re.findall(r"<h2><a href=\"/orders/\d+/\">(E-\d+)</a></h2>", html)
    assert shown == ["E-1959", "E-1952", "E-1944", "E-1936"]


async def test_stream_tells_of_each_change_once_it_is_committed(asgi, follow, order, demo_data):
    """Created, updated and deleted each come as HTML or a key; a rollback is no change."""

    @sync_to_async
    def work() -> None:
        with transaction.atomic():
            other.save()
        with transaction.atomic():
            other.total = 1
            other.save()
            transaction.set_rollback(True)
        order.status = Order.Status.PACKED
        order.save()

    board = await follow(asgi, "/orders/")
    other = Order(number="T-2", customer="Other", owner=demo_data["alan"], total=2)
    await work()
    event = await board.next_event()
    assert (event.event, "T-2" in event.data, "€ 2.00" in event.data) == (
        "order.created",
        True,
        True,
    )
    event = await board.next_event()
    assert event.event == "order.updated"
    assert 'data-state="packed"' in event.data
    assert "Tea &amp; &lt;cake&gt;" in event.data
    pk = order.pk
    await order.adelete()
    event = await board.next_event()
    assert (event.event, event.json()) == ("order.deleted", {"id": pk})


async def test_order_that_is_shipped_leaves_the_board_and_may_come_back(asgi, follow, order):
    """To the board an order that is not open is deleted; one that is reopened is shown again."""
    board = await follow(asgi, "/orders/")
    order.status = Order.Status.SHIPPED
    await order.asave()
    event = await board.next_event()
    assert (event.event, event.json()) == ("order.deleted", {"id": order.pk})
    order.customer = "Told to nobody"
    await order.asave()
    order.status = Order.Status.NEW
    await order.asave()
    event = await board.next_event()
    assert event.event == "order.updated"
    assert f'id="order-{order.pk}"' in event.data


async def test_admin_changes_the_board_and_the_inboxes_of_the_owners(
    client_of, follow, post, demo_data
):
    """Statuses saved in the admin's list: the board has them all, and each owner their own."""
    admin, ada = await client_of("admin"), await client_of("ada")
    alan = await client_of("alan")
    board = await follow(ada, "/orders/")
    inboxes = {
        name: await client.open("/inbox/stream/")
        for name, client in (("ada", ada), ("alan", alan))
    }
    for inbox in inboxes.values():
        await inbox.next_event()
    orders = {
        order.number: order
        async for order in Order.objects.filter(number__in=["E-1936", "E-1959"])
    }
    fields: dict[str, object] = {"form-TOTAL_FORMS": 2, "form-INITIAL_FORMS": 2, "_save": "Save"}
    for index, (number, status) in enumerate([("E-1959", "packed"), ("E-1936", "shipped")]):
        fields |= {f"form-{index}-id": orders[number].pk, f"form-{index}-status": status}
    answer = await post(admin, "/admin/orders/order/?number__startswith=E-19", **fields)
    assert answer.status == 302

    changed, gone = await board.next_event(), await board.next_event()
    assert (changed.event, "E-1959" in changed.data) == ("order.updated", True)
    assert (gone.event, gone.json()) == ("order.deleted", {"id": orders["E-1936"].pk})
    for name, text in (
        ("ada", "Order E-1959 for The Difference Shop is packed."),
        ("alan", "Order E-1936 for Bletchley Park is shipped."),
    ):
        event = await inboxes[name].next_event()
        assert (event.event, text in event.data) == ("note.created", True)
        assert "The shop" in event.data
        assert not inboxes[name].has_unread


@pytest.mark.django_db
def test_owner_is_told_of_the_status_alone(order):
    """Another change is no note, nor is an order that is new, nor one that a fixture brings."""
    order.customer = "Another"
    order.save()
    Order.objects.create(number="T-3", customer="-", owner=order.owner, total=1)
    order.status = Order.Status.CANCELLED
    for fixture in serializers.deserialize("json", serializers.serialize("json", [order])):
        fixture.save()
    assert Order.objects.get(pk=order.pk).status == Order.Status.CANCELLED
    assert not Note.objects.filter(sender=None).exists()
    order.status = Order.Status.SHIPPED
    order.save(update_fields=["status"])
    note = Note.objects.get(sender=None)
    assert (note.recipient, note.body) == (order.owner, "Order T-1 for Another is shipped.")
    assert str(note) == "The shop to ada"


@pytest.mark.parametrize(("name", "may"), [("", ""), ("ada", ""), ("admin", "admin")])
def test_page_offers_editing_to_staff_alone(name, may, client, demo_data):
    """All readers get one text; the page shows the links in it to those who may follow them."""
    if name:
        client.force_login(demo_data[name])
    html = client.get("/orders/").content.decode()
    assert f'data-may="{may}"' in html
    assert 'data-needs="admin" href="/admin/orders/order/' in html
