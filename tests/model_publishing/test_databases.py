"""Models that publish from more than one database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction

from tests.model_publishing.told import changes
from tests.models import Account, ExportOrder, Line, Order, Tag
from tests.settings import database

OPEN = {"status": "open"}
PAID = {"status": "paid"}


@pytest.fixture(autouse=True)
def _databases(tmp_path: Path, django_db_blocker: Any) -> Iterator[None]:
    """Make two databases with tables of orders, "here" and "there"."""
    aliases = ("here", "there")
    with django_db_blocker.unblock():
        for alias in aliases:
            path = str(tmp_path / f"{alias}.sqlite3")
            # Files, whatever the database of the other tests is.
            own = database("sqlite", path)
            connections.settings[alias] = {**connections.settings["default"], **own}
            with connections[alias].schema_editor() as editor:
                for model in (Account, Tag, Order, ExportOrder, Line):
                    editor.create_model(model)
        yield
        for alias in aliases:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]


def test_the_transaction_of_the_rows_database_counts(told, publish_model):
    """One that is open on another does not."""
    publish_model()
    with transaction.atomic(using="there"):
        order = Order(status="paid")
        order.save(using="there")
        Order.objects.using("here").create()
        assert changes(told) == [("created", OPEN)]
    assert changes(told) == [("created", PAID)]
    with transaction.atomic(using="here"):
        order.tags.using("there").first()
        order.status = "open"
        order.save()
        assert changes(told) == [("updated", OPEN)]
        order.delete()
        assert [change for change, _ in changes(told)] == ["deleted"]


def test_rows_of_two_databases_are_two(told, publish_model):
    """Though their keys are the same."""
    publish_model()
    with transaction.atomic(using="here"), transaction.atomic(using="there"):
        Order(pk=1).save(using="here")
        Order(pk=1, status="paid").save(using="there")
    assert changes(told) == [("created", PAID), ("created", OPEN)]


def test_rows_of_two_databases_have_keys_of_their_own(told, publish_model):
    """A slow page's update of one does not give way to that of the other."""
    publish_model()
    for alias in ("here", "there"):
        order = Order(pk=1)
        order.save(using=alias)
        told.clear()
        order.save(using=alias)
        [one] = told
        assert f":{alias}:" in (one.key or "")


def test_deletion_in_another_database(told, by_owner):
    """The row's groups are read there, where the row is."""
    for number, alias in enumerate(("here", "there")):
        owner = Account(pk=number + 1, name=alias)
        owner.save(using=alias)
        Order(pk=1, owner=owner).save(using=alias)
    told.clear()
    order = Order.objects.using("here").get()
    order.delete(using="there")
    Order(pk=1).delete(using="here")
    assert [one.groups for one in told] == [["owner.2"], ["owner.1"]]


def test_row_that_is_copied(told, publish_model):
    """What is known of it is of the first: in the other it is not known to be unchanged."""
    publish_model(only=["status"])
    order = Order(status="open")
    order.save(using="here")
    order.save(using="there")
    Order.objects.using("there").update(status="paid")
    told.clear()
    order.save(using="here")
    order.save(using="there")
    assert changes(told) == [("updated", OPEN), ("updated", OPEN)]


def test_explicit_publishing(told, publish_model):
    """The queryset's database counts, or else that which the model is written to."""
    publisher = publish_model()
    Order.objects.using("there").create(status="paid")
    told.clear()
    with transaction.atomic(using="here"):
        publisher.publish(Order.objects.using("there"))
        assert changes(told) == [("updated", PAID)]
    with transaction.atomic(using="there"):
        publisher.publish(Order.objects.using("there"))
        assert told == []
    assert changes(told) == [("updated", PAID)]


def test_explicit_publishing_reads_where_rows_are_written(told, publish_model, settings):
    """A replica may not have them yet."""

    class Router:
        def db_for_read(self, model, **hints):
            return "here"

        def db_for_write(self, model, **hints):
            return "there"

    publisher = publish_model()
    Order.objects.using("there").create(status="paid")
    told.clear()
    settings.DATABASE_ROUTERS = [Router()]
    publisher.publish(Order.objects.all())
    assert changes(told) == [("updated", PAID)]
