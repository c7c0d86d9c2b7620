"""States of rows: what is kept of them, and instances as they were."""

from typing import Any

import pytest
from django.db.models import F

from django_sse.model_publishing.states import (
    as_of,
    columns,
    computed,
    given,
    is_expression,
    state_of,
)
from tests.models import Account, ExportOrder, Order, Parcel, Seat


def saved(**values):
    order = Order(pk=1, **values)
    order._state.adding = False
    return order


def test_state_is_of_columns():
    """Other attributes, and related objects, are not in it."""
    order = saved(owner=Account(pk=7))
    order.note = "x"
    names = {"id", "owner_id", "status", "total", "due", "details", "receipt"}
    assert set(state_of(order)) == names
    assert state_of(order)["owner_id"] == 7
    assert state_of(order, {"id", "status", "note"}) == {"id": 1, "status": "open"}


def test_deferred_columns_are_not_in_it():
    """Looking must not read them."""
    order = Order.from_db(None, ["id", "status"], [1, "open"])
    assert state_of(order) == {"id": 1, "status": "open"}


def test_what_may_change_in_place_is_copied():
    """JSON, and the object that stands for a file."""
    order = saved(details={"a": [1]}, receipt="a.txt")
    state = state_of(order)
    order.details["a"].append(2)
    order.receipt.name = "b.txt"
    assert state["details"] == {"a": [1]}
    assert state["receipt"] == "a.txt"


def test_columns_by_either_name():
    """And the key, of each table."""
    assert columns(Order, ["owner", "due"]) == {"id", "owner_id", "due"}
    assert columns(Order, ["owner_id"]) == {"id", "owner_id"}
    assert columns(ExportOrder, []) >= {"order_ptr_id"}


def test_columns_of_a_composite_key():
    """All of them."""
    assert columns(Seat, ["guest"]) == {"row", "number", "guest"}


def test_columns_that_the_database_computes():
    """They may change with any other."""
    assert columns(Parcel, ["width"]) == {"id", "width", "area"}


def test_computed_columns():
    """Those that the database makes of others."""
    assert computed(Parcel) == {"area"}
    assert computed(Order) == frozenset()
    assert given(Parcel) == {"owner_id", "width", "height"}


def test_as_of_another_state_is_a_copy():
    """The instance is left alone; attributes of its own come along."""
    owner = Account(pk=7)
    order = saved(owner=owner, status="paid")
    order.note = "mine"
    twin: Any = as_of(order, {**state_of(order), "status": "open"}, "default")
    assert (twin.status, twin.note, twin.pk, twin == order) == ("open", "mine", 1, True)
    assert twin.owner is owner
    assert order.status == "paid"
    assert not twin._state.adding


def test_as_of_another_relation():
    """What is related comes along only if it is still the one."""
    order = saved(owner=Account(pk=7))
    twin = as_of(order, {**state_of(order), "owner_id": 8}, "default")
    assert "owner" not in twin._state.fields_cache
    assert "owner" in order._state.fields_cache


def test_as_of_a_state_that_knows_less():
    """The rest is deferred, whatever the instance says."""
    twin = as_of(saved(status="never saved"), {"id": 1}, "other")
    assert "status" in twin.get_deferred_fields()
    assert twin._state.db == "other"


def test_as_of_leaves_caches_out():
    """They are of other values; and what is cached in the copy is not in the instance."""
    parcel = Parcel(pk=1, width=2, height=3)
    vars(parcel)["_prefetched_objects_cache"] = {"tags": []}
    for state in (state_of(parcel), {**state_of(parcel), "width": 5}):
        assert parcel.name == "2 x 3"
        twin: Any = as_of(parcel, state, "default")
        assert not hasattr(twin, "_prefetched_objects_cache")
        assert twin.name == f"{state['width']} x 3"
        del parcel.name
        assert twin.name
        assert "name" not in vars(parcel)


def test_as_of_has_relations_of_its_own():
    """Django empties those of a copy that is gone."""
    order = saved()
    order.owner = Account(pk=7)
    twin = as_of(order, state_of(order), "default")
    del twin
    assert order._state.fields_cache["owner"].pk == 7


@pytest.mark.parametrize(("value", "expected"), [(F("total") + 1, True), ("total", False)])
def test_is_expression(value, expected):
    """Only the database knows its value."""
    assert is_expression(value) is expected
