"""Blocks in which models do not publish."""

import asyncio
import contextvars
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from django_sse import suppress_publishing
from tests.models import Order, Tag, UrgentOrder

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = {"status": "open"}


@pytest.fixture(autouse=True)
def _publishers(told, publish_model):
    publish_model()
    publish_model(Tag, fields=["label"])


def events(told):
    found = [one.event for one in told]
    told.clear()
    return found


def test_everything_in_the_block(told):
    """Saves, relations and deletions, of all models; and nothing after it."""
    with suppress_publishing():
        order, tag = Order.objects.create(), Tag.objects.create(label="x")
        order.tags.add(tag)
        tag.orders.clear()
        Order.objects.create().delete()
    assert told == []
    order.save()
    tag.save()
    assert events(told) == ["order.updated", "tag.updated"]


def test_models(told):
    """Only those that are named, with their subclasses."""
    with suppress_publishing(Order):
        UrgentOrder.objects.create()
        Tag.objects.create(label="x")
    with suppress_publishing(UrgentOrder):
        UrgentOrder.objects.create()
        Order.objects.create()
    assert events(told) == ["tag.created", "order.created"]


def test_nested(told):
    """An inner block adds to the outer one, and takes nothing from it."""
    with suppress_publishing(Order):
        with suppress_publishing(Tag):
            Order.objects.create()
            Tag.objects.create(label="x")
        with suppress_publishing(Order):
            pass
        Order.objects.create()
        Tag.objects.create(label="x")
    Order.objects.create()
    assert events(told) == ["tag.created", "order.created"]


def test_one_object_in_two_blocks(told):
    """It can be entered again."""
    quiet = suppress_publishing()
    with quiet, quiet:
        Order.objects.create()
    with quiet:
        Order.objects.create()
    Order.objects.create()
    assert events(told) == ["order.created"]


def test_an_error_ends_the_block(told):
    """As any other end does, and it goes on."""
    with pytest.raises(ValueError, match="out"), suppress_publishing():
        raise ValueError("out")
    Order.objects.create()
    assert events(told) == ["order.created"]


def test_the_time_of_the_save_counts(told):
    """Not that of the commit."""
    with transaction.atomic():
        order = Order.objects.create()
        with suppress_publishing():
            Order.objects.create()
    assert events(told) == ["order.created"]
    with suppress_publishing(), transaction.atomic():
        order.save()
    assert told == []


def test_what_was_saved_in_it_is_known(told, publish_model):
    """Later updates are compared with it."""
    publish_model(only=["status"], name="only")
    order = Order.objects.create()
    order.status = "paid"
    with suppress_publishing():
        order.save()
    told.clear()
    order.save()
    assert events(told) == ["order.updated"]


def test_decorated_function(told):
    """With its arguments and its result, each time."""

    @suppress_publishing(Order)
    def make(status: str) -> Order:
        """Make one."""
        return Order.objects.create(status=status)

    assert make.__doc__ == "Make one."
    assert make("a").status == make("b").status.replace("b", "a") == "a"
    assert told == []
    Order.objects.create()
    assert events(told) == ["order.created"]


async def test_decorated_coroutine_function(told, transactional_db):
    """While it waits, others publish."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    @suppress_publishing()
    async def make() -> None:
        inside.set()
        await go_on.wait()
        await Order.objects.acreate()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(make())
        await inside.wait()
        await Order.objects.acreate()
        assert events(told) == ["order.created"]
        go_on.set()
    assert told == []
    await sync_to_async(connections.close_all)()


async def test_block_in_a_coroutine(told, transactional_db):
    """It is of its task, and of those that it starts."""
    with suppress_publishing():
        await Order.objects.acreate()
        await asyncio.create_task(Order.objects.acreate())
    assert told == []
    await Order.objects.acreate()
    assert events(told) == ["order.created"]
    await sync_to_async(connections.close_all)()


def test_other_threads(told):
    """They publish."""

    def work() -> None:
        Order.objects.create()
        connections.close_all()

    with suppress_publishing():
        # From Python 3.14 on a thread may be started in the context of who starts it.
        thread = threading.Thread(target=contextvars.Context().run, args=(work,))
        thread.start()
        thread.join()
    assert events(told) == ["order.created"]


@pytest.mark.parametrize("given", ["Order", Order(), lambda: None])
def test_what_is_no_model(given):
    """A decorator without brackets, above all."""
    with pytest.raises(TypeError, match=r"it takes model classes, or.*@suppress_publishing\(\)"):
        suppress_publishing(given)
