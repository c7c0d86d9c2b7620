"""What is noted of rows that are read, and that nothing is once nobody publishes."""

from typing import Any

import pytest

from django_sse.model_publishing import reading, unregister
from django_sse.model_publishing.knowledge import known
from tests.models import ExportOrder, Order

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def export(publish_model):
    """A row of two tables, of which both publish."""
    publish_model()
    publish_model(ExportOrder)
    return ExportOrder.objects.create(country="NL")


def test_row_of_two_tables_is_looked_at_once(export, monkeypatch):
    """Its model has taken over its parent's methods."""
    noted: list[Any] = []
    monkeypatch.setattr(reading, "remember", lambda instance, *args: noted.append(instance))
    read = ExportOrder.objects.get()
    assert noted == [read]
    read.refresh_from_db()
    assert len(noted) == 3  # Django reads an instance, from which it takes the values.


@pytest.mark.parametrize("first", [Order, ExportOrder])
def test_methods_are_given_back(export, first):
    """Whichever publishes no more, the other does; after both all is as it was."""
    unregister(first)
    assert known(ExportOrder.objects.get(), "default") is not None
    unregister(*({Order, ExportOrder} - {first}))
    assert known(ExportOrder.objects.get(), "default") is None
    for model in (Order, ExportOrder):
        assert not vars(model).keys() & {"from_db", "refresh_from_db"}


def test_method_of_the_model(publish_model, monkeypatch):
    """It is called, and is there again afterwards."""
    made: list[Any] = []

    def from_db(cls: type[Order], *args: Any, **kwargs: Any) -> Order:
        made.append(cls)
        return super(Order, cls).from_db(*args, **kwargs)

    own = classmethod(from_db)
    monkeypatch.setattr(Order, "from_db", own)
    publish_model()
    Order.objects.create()
    assert known(Order.objects.get(), "default") is not None
    assert made == [Order]
    unregister(Order)
    assert vars(Order)["from_db"] is own
