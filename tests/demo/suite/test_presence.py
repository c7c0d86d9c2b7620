"""An order's own page: who is looking at it, and what happens to it."""

import re

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User

from demo_project.orders.models import Order
from demo_project.presence.people import people_of, with_reader
from demo_project.presence.views import render


@pytest.fixture
def order(demo_data: dict[str, User]) -> Order:
    """Return an order of Ada's."""
    return Order.objects.get(number="E-1959")


def names(html):
    return re.findall(r'<span class="name">(.*?)</span>', html)


async def next_event(stream, name):
    event = await stream.next_event()
    assert event.event == name
    return event


async def test_page_shows_its_reader_before_its_stream_is_open(client_of, asgi, order):
    """The registry cannot know of them yet. Who is not signed in is not shown."""
    path = f"/orders/{order.pk}/"
    page = (await (await client_of("ada")).get(path)).body.decode()
    assert names(page) == ["Ada Lovelace"]
    assert page.count('<span class="you">you</span>') == 1
    assert names((await asgi.get(path)).body.decode()) == []


async def test_stream_begins_with_who_is_there_and_tells_who_comes_and_goes(
    client_of, follow, order, demo_data
):
    """Each person once, however many tabs; the page that comes later is given the whole list."""
    path = f"/orders/{order.pk}/"
    ada = await follow(await client_of("ada"), path)
    assert names((await next_event(ada, "viewers")).data) == ["Ada Lovelace"]
    # When the registry has them, they are told of themselves.
    assert names((await next_event(ada, "user_joined")).data) == ["Ada Lovelace"]

    tabs = [await follow(await client_of("grace"), path) for _ in range(2)]
    for tab in tabs:
        listed = names((await next_event(tab, "viewers")).data)
        assert listed == ["Ada Lovelace", "Grace Hopper"]
    joined = await next_event(ada, "user_joined")
    assert names(joined.data) == ["Grace Hopper"]
    assert f'id="viewer-{demo_data["grace"].pk}"' in joined.data
    assert "you" not in joined.data
    later = (await (await client_of("alan")).get(path)).body.decode()
    assert names(later) == ["Ada Lovelace", "Grace Hopper", "Alan Turing"]

    for tab in tabs:
        tab.disconnect()
    left = await next_event(ada, "user_left")
    assert left.json() == {"user": str(demo_data["grace"].pk)}
    assert not ada.has_unread


async def test_stream_tells_what_happens_to_its_order(asgi, follow, order):
    """In whatever state it is; of another order it says nothing."""
    stream = await follow(asgi, f"/orders/{order.pk}/")
    assert names((await next_event(stream, "viewers")).data) == []
    other = await Order.objects.aget(number="E-1944")
    other.total = 1
    await other.asave()
    order.status = Order.Status.SHIPPED
    await order.asave()
    event = await next_event(stream, "order.updated")
    assert "Order E-1959" in event.data
    assert '<ol class="steps" data-state="shipped"' in event.data
    await order.adelete()
    assert "has been deleted" in (await next_event(stream, "order.deleted")).data
    assert not stream.has_unread


async def test_no_order_no_stream(asgi, demo_data):
    """The stream of an order that is not there is a 404, as its page is."""
    assert (await asgi.get("/orders/0/")).status == 404
    assert (await asgi.get("/orders/0/changes/")).status == 404


@pytest.mark.django_db
def test_people_have_initials():
    """Of the first name and the last, or of the user name; a user who is gone is nobody."""
    ada = User.objects.create(username="ada", first_name="Augusta Ada", last_name="King")
    bob = User.objects.create(username="bob")
    people = people_of([str(bob.pk), "99", str(ada.pk)], reader=ada)
    assert [(one.name, one.initials, one.is_reader) for one in people] == [
        ("bob", "BO", False),
        ("Augusta Ada King", "AK", True),
    ]


@pytest.mark.django_db
def test_viewers_names_are_text():
    """A name is no HTML."""
    user = User.objects.create(username="eve", first_name="<b>Eve</b>", last_name="&")
    html = async_to_sync(render)([str(user.pk)], AnonymousUser())
    assert names(html) == ["&lt;b&gt;Eve&lt;/b&gt; &amp;"]


def test_reader_is_added_once():
    """Where the registry has the reader already, it is not twice."""
    assert with_reader(("7", "5"), User(pk=5)) == ["7", "5"]
    assert with_reader(("7",), User(pk=5)) == ["7", "5"]
    assert with_reader(("7",), AnonymousUser()) == ["7"]
