"""Any transaction at all: what is told is the difference between its beginning and its end."""

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_sse.model_publishing import registry, unregister
from tests.model_publishing.told import Told
from tests.models import Account, Order, Tag

ROWS = (1, 2)

#: What may happen, and to which row; a savepoint is of none.
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["save", "save the old instance", "update one field"]),
            st.sampled_from(ROWS),
            st.sampled_from("ab"),
            st.sampled_from((1, 2)),
        ),
        st.tuples(
            st.sampled_from(["delete", "relate", "clear", "refresh"]), st.sampled_from(ROWS)
        ),
        st.tuples(st.sampled_from(["begin", "commit", "rollback"])),
    ),
    max_size=12,
)


class History:
    """Does the steps to the rows, in one transaction, and knows what was there before."""

    def __init__(self, existing: list[int], tag: Tag) -> None:
        self._tag = tag
        for pk in existing:
            Order.objects.create(pk=pk, status="a", owner_id=1)
        self._instances = {pk: Order.objects.filter(pk=pk).first() for pk in ROWS}
        self._savepoints: list[Any] = []

    def run(self, steps: list[Any]) -> None:
        with transaction.atomic():
            for name, *args in steps:
                getattr(self, name.replace(" ", "_"))(*args)
            while self._savepoints:
                self.commit()

    def save(self, pk: int, status: str, owner: int) -> None:
        order = Order.objects.filter(pk=pk).first() or Order(pk=pk)
        order.status, order.owner_id = status, owner
        order.save()

    def save_the_old_instance(self, pk: int, status: str, owner: int) -> None:
        order = self._instances[pk]
        if order is not None and Order.objects.filter(pk=pk).exists():
            order.status, order.owner_id = status, owner
            order.save()

    def update_one_field(self, pk: int, status: str, owner: int) -> None:
        order = Order.objects.filter(pk=pk).defer("status").first()
        if order is not None:
            order.owner_id, order.status = owner, "never saved"
            order.save(update_fields=["owner_id"])

    def delete(self, pk: int) -> None:
        order = Order.objects.filter(pk=pk).first()
        if order is not None:
            order.delete()

    def relate(self, pk: int) -> None:
        if Order.objects.filter(pk=pk).exists():
            self._tag.orders.add(pk)

    def clear(self, pk: int) -> None:
        order = Order.objects.filter(pk=pk).first()
        if order is not None:
            order.tags.clear()

    def refresh(self, pk: int) -> None:
        order = self._instances[pk]
        if not self._savepoints and order is not None and Order.objects.filter(pk=pk).exists():
            order.refresh_from_db()

    def begin(self) -> None:
        self._savepoints.append(transaction.atomic())
        self._savepoints[-1].__enter__()

    def commit(self) -> None:
        if self._savepoints:
            self._savepoints.pop().__exit__(None, None, None)

    def rollback(self) -> None:
        if self._savepoints:
            self._savepoints.pop().__exit__(ValueError, ValueError(), None)


def rows() -> dict[int, tuple[str, int]]:
    return {order.pk: (order.status, order.owner_id or 0) for order in Order.objects.all()}


def pages(told: list[Told], before: dict[int, tuple[str, int]]) -> dict[int, dict[int, str]]:
    """Return the rows that each owner's page shows, which knew what was there *before*."""
    shown: dict[int, dict[int, str]] = {1: {}, 2: {}}
    for pk, (status, owner) in before.items():
        shown[owner][pk] = status
    for one in told:
        for group in one.groups:
            page = shown[int(group.removeprefix("owner."))]
            if one.event == "order.deleted":
                del page[one.data["id"]]  # It is told only to who had it.
            else:
                page[one.data["id"]] = one.data["status"]
    return shown


@pytest.mark.django_db(transaction=True)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(existing=st.lists(st.sampled_from(ROWS), unique=True), steps=STEPS)
def test_pages_show_what_is_there(told, publish_model, existing, steps):
    """Each row is told at most once to each page, and then all pages are right."""
    for publisher in registry.publishers():
        unregister(publisher.model)
    publish_model(
        fields=["id", "status"], get_groups=lambda self, order: [f"owner.{order.owner_id}"]
    )
    Order.objects.all().delete()
    for pk in (1, 2):
        Account.objects.get_or_create(pk=pk, defaults={"name": str(pk)})
    history = History(existing, Tag.objects.create(label="x"))
    before = rows()
    told.clear()
    history.run(steps)
    after = rows()
    assert pages(told, before) == pages([], after)
    once = [(one.data["id"], group) for one in told for group in one.groups]
    assert len(once) == len(set(once))
    kinds = {one.data["id"]: one.event for one in told if one.event != "order.deleted"}
    for pk, event in kinds.items():
        assert (event == "order.created") is (pk not in before)
