"""Signals: each way in which Django changes a row, and what is told of it."""

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.core.serializers import serialize
from django.db import connection, connections, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.test.utils import CaptureQueriesContext, isolate_apps

from django_sse.metrics import metrics
from django_sse.model_publishing import unregister
from tests.model_publishing.told import changes
from tests.models import Account, ExportOrder, Line, Order, Parcel, Seat, Tag, UrgentOrder

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = {"status": "open"}
PAID = {"status": "paid"}


class TestSave:
    def test_created_and_updated(self, told, publish_model, django_assert_num_queries):
        """Neither takes a query more than a plain save()."""
        publish_model()
        with django_assert_num_queries(1):
            order = Order.objects.create()
        assert changes(told) == [("created", OPEN)]
        order.status = "paid"
        with django_assert_num_queries(1):
            order.save()
        assert changes(told) == [("updated", PAID)]

    def test_row_that_was_read(self, told, publish_model, django_assert_num_queries):
        """The same."""
        publish_model(only=["status"])
        Order.objects.create()
        order = Order.objects.get()
        told.clear()
        with django_assert_num_queries(1):
            order.save()
        assert told == []
        order.status = "paid"
        with django_assert_num_queries(1):
            order.save()
        assert changes(told) == [("updated", PAID)]

    def test_several_publishers(self, told, publish_model, django_assert_num_queries):
        """Each tells what it is for, and they share the query."""
        publish_model(groups=["a"], fields=["status"])
        publish_model(groups=["b"], fields=["total"], on=["created"])
        with django_assert_num_queries(1):
            Order.objects.create(total=1)
        order = Order.objects.get()
        order.save()
        assert [(one.event, one.groups, one.data) for one in told] == [
            ("order.created", ["a"], OPEN),
            ("order.created", ["b"], {"total": 1}),
            ("order.updated", ["a"], OPEN),
        ]

    async def test_async(self, told, publish_model, transactional_db):
        """asave(), acreate() and adelete() are told as their twins are."""
        publish_model()
        order = await Order.objects.acreate()
        order.status = "paid"
        await order.asave()
        pk = order.pk
        await order.adelete()
        assert changes(told) == [("created", OPEN), ("updated", PAID), ("deleted", {"id": pk})]
        await sync_to_async(connections.close_all)()

    def test_manual_transactions(self, told, publish_model, caplog):
        """Their end is not known: the save goes on, and the log says that nothing is told."""
        publish_model()
        transaction.set_autocommit(False)
        try:
            Order.objects.create()
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
        assert Order.objects.count() == 1
        assert told == []
        assert metrics.publish_errors == 1
        assert "cannot know when the transaction ends" in caplog.text

    def test_constructed_row_that_exists(self, told, publish_model, alice, by_owner):
        """What was there is not known: the update is told, and to nobody that it is gone."""
        order = Order.objects.create(owner=alice)
        publish_model(only=["status"])
        told.clear()
        Order(pk=order.pk, owner=alice).save()
        assert changes(told) == [("updated", OPEN), ("updated", OPEN)]

    def test_key_set_to_that_of_another_row(self, told, publish_model, by_owner, alice, bob):
        """What the instance was loaded from is another row: of this one nothing is known."""
        publish_model(only=["status"])
        first = Order.objects.create(owner=alice)
        second = Order.objects.create(owner=bob, status="paid")
        told.clear()
        first.pk, first.owner = second.pk, bob
        first.save()
        assert [(one.event, one.groups) for one in told] == [
            ("order.updated", [f"owner.{bob.pk}"]),
            ("order.updated", ["all"]),
        ]

    def test_key_given_as_a_string(self, told, publish_model):
        """It is that of the same row."""
        publish_model()
        pk = Order.objects.create().pk
        told.clear()
        with transaction.atomic():
            Order(pk=str(pk), status="paid").save()
            order = Order.objects.get()
            order.status = "sent"
            order.save()
        assert changes(told) == [("updated", {"status": "sent"})]

    def test_constructed_row_with_a_composite_key(self, told, publish_model):
        """The parts of the key are enough to save, relate or delete a row."""
        publish_model(Seat, fields=["guest"])
        Seat.objects.create(row="A", number=7)
        told.clear()
        Seat(row="A", number=7, guest="Ann").save(update_fields=["guest"])
        Seat(row="A", number=7).delete()
        assert changes(told) == [("updated", {"guest": "Ann"}), ("deleted", {"pk": ["A", 7]})]

    @pytest.mark.parametrize("part", [False, True])
    def test_value_that_the_database_computes(self, told, publish_model, part):
        """It is that of the values that were written."""
        publish_model(Parcel, fields=["width", "area"], only=["area"])
        Parcel.objects.create(width=2, height=3)
        parcel = Parcel.objects.get()
        parcel.width = 5
        parcel.save(update_fields=["width"] if part else None)
        assert changes(told) == [
            ("created", {"width": 2, "area": 6}),
            ("updated", {"width": 5, "area": 15}),
        ]

    def test_cached_properties(self, told, publish_model, alice, bob):
        """They are those of the state that is told, and the instance's are left alone."""
        publish_model(Parcel, fields=["width"], get_groups=lambda self, parcel: [parcel.room])
        parcel = Parcel.objects.create(owner=alice)
        assert "room" not in vars(parcel)
        told.clear()
        assert parcel.room == f"owner.{alice.pk}"
        parcel.owner = bob
        parcel.save()
        assert [(one.event, one.groups) for one in told] == [
            ("parcel.deleted", [f"owner.{alice.pk}"]),
            ("parcel.updated", [f"owner.{bob.pk}"]),
        ]

    def test_prefetched_relations(self, told, publish_model):
        """They are what they were: the relations are read anew."""
        publish_model(fields=["tags"])
        tag = Tag.objects.create(label="x")
        Order.objects.create()
        order = Order.objects.prefetch_related("tags").get()
        told.clear()
        with transaction.atomic():
            tag.orders.add(order)
            order.save()
        assert changes(told) == [("updated", {"tags": [tag.pk]})]

    def test_constructed_row_of_which_a_part_is_saved(self, told, publish_model):
        """The rest is not what the constructor said; it is read."""
        publish_model(fields=["status", "total"])
        order = Order.objects.create(status="paid")
        told.clear()
        Order(pk=order.pk, total=5).save(update_fields=["total"], force_update=True)
        assert changes(told) == [("updated", {"status": "paid", "total": 5})]


class TestBookkeepingThatFails:
    """A defect of this package, or of a field's code, is no failure of what Django does."""

    @pytest.fixture(autouse=True)
    def _broken(self, publish_model, monkeypatch):
        publish_model()

        def fail(*args: Any) -> Any:
            raise RuntimeError("broken")

        monkeypatch.setattr("django_sse.model_publishing.receivers.open_row", fail)
        monkeypatch.setattr("django_sse.model_publishing.reading.state_of", fail)

    def test_nothing_fails(self, told, caplog):
        """Rows are saved, read, related and deleted; the errors are logged and counted."""
        order = Order.objects.create()
        assert metrics.publish_errors == 1
        order.status = "paid"
        order.save()
        assert metrics.publish_errors == 2
        order.refresh_from_db()
        assert Order.objects.get().status == order.status == "paid"
        assert metrics.publish_errors == 5
        order.tags.add(Tag.objects.create(label="x"))
        assert order.tags.count() == 1
        assert metrics.publish_errors == 6
        order.delete()
        assert metrics.publish_errors == 7
        assert not Order.objects.exists()
        assert told == []
        assert "What happens to a row of tests.Order cannot be told." in caplog.text


class TestOnly:
    @pytest.fixture
    def order(self, publish_model, alice, told):
        """One that is told of if its status or its owner changes."""
        publish_model(only=["status", "owner"])
        order = Order.objects.create(owner=alice)
        told.clear()
        return order

    def test_another_field(self, told, order):
        """It is not told."""
        order.total = 5
        order.save()
        assert told == []

    def test_one_of_them(self, told, order, bob):
        """It is; a relation is named by the field, and is its column."""
        order.status = "paid"
        order.save()
        order.owner = bob
        order.save()
        order.save()
        assert changes(told) == [("updated", PAID), ("updated", PAID)]

    def test_update_fields_without_it(self, told, order):
        """What is not written has not changed, whatever the instance says; nor is it sent."""
        order.status = "paid"
        order.save(update_fields=["total"])
        assert told == []
        order.save()
        assert changes(told) == [("updated", PAID)]

    @pytest.mark.parametrize("name", ["owner", "owner_id"])
    def test_update_fields_by_each_name(self, told, order, bob, name):
        """Django takes the column's name, too."""
        order.owner, order.status = bob, "paid"
        order.save(update_fields=[name])
        assert changes(told) == [("updated", OPEN)]

    def test_set_back_within_the_transaction(self, told, order):
        """Nothing has happened."""
        with transaction.atomic():
            order.status = "paid"
            order.save()
            order.status = "open"
            order.save()
        assert told == []

    def test_changed_by_somebody_else(self, told, order):
        """Each instance is compared with what it was when it was read."""
        other = Order.objects.get()
        other.status = "paid"
        other.save()
        order.save()  # Sets it back, without knowing.
        assert changes(told) == [("updated", PAID)]

    def test_two_instances_in_one_transaction(self, told, order):
        """Before and after are the transaction's; afterwards each knows what it has written."""
        other = Order.objects.get()
        with transaction.atomic():
            order.status = "paid"
            order.save()
            other.status = "sent"
            other.save()
        assert changes(told) == [("updated", {"status": "sent"})]
        order.status = "open"
        order.save()
        assert changes(told) == [("updated", OPEN)]

    def test_expression(self, told, order):
        """What only the database knows is read from it, by one query at most."""
        order.status = Concat(F("status"), Value("ed"))
        order.save()
        assert changes(told) == [("updated", {"status": "opened"})]

    def test_expression_of_one_field(self, told, order):
        """The same where that field alone is written."""
        order.status = Concat(F("status"), Value("ed"))
        order.save(update_fields=["status"])
        assert changes(told) == [("updated", {"status": "opened"})]

    def test_expression_of_a_field_that_was_deferred(self, told, publish_model):
        """Neither what it was nor what it is is known: it counts as changed, and is read."""
        publish_model(only=["total"], fields=["total"])
        Order.objects.create()
        told.clear()
        for names in (["total"], None):
            order = Order.objects.defer("total").get()
            order.total = F("total") + 1
            order.save(update_fields=names)
        assert changes(told) == [("updated", {"total": "1.00"}), ("updated", {"total": "2.00"})]

    def test_expression_that_django_has_deferred(self, told, order, monkeypatch):
        """On a database without RETURNING Django forgets the value: it is read."""
        order.status = "paid"
        monkeypatch.setattr(
            "django_sse.model_publishing.receivers.state_of",
            lambda instance, names=None: {"id": instance.pk},
        )
        order.save()
        assert changes(told) == [("updated", PAID)]

    def test_expression_in_a_row_that_has_gone(self, told, order, monkeypatch):
        """Who has deleted it tells that."""
        with transaction.atomic():
            order.status = "paid"
            with monkeypatch.context() as patch:
                patch.setattr(
                    "django_sse.model_publishing.receivers.state_of",
                    lambda instance, names=None: {"id": instance.pk, "status": F("status")},
                )
                order.save()
            Order.objects.filter(pk=order.pk)._raw_delete("default")
        assert told == []

    def test_value_mutated_in_place(self, told, publish_model):
        """The JSON that was loaded is kept as it was."""
        publish_model(fields=["details"], only=["details"])
        order = Order.objects.create(details={"tags": ["a"]})
        order = Order.objects.get()
        told.clear()
        order.save()
        assert told == []
        order.details["tags"].append("b")
        order.save()
        assert changes(told) == [("updated", {"details": {"tags": ["a", "b"]}})]

    def test_file_replaced_in_place(self, told, publish_model, settings, tmp_path):
        """The field's file object stays the same."""
        settings.MEDIA_ROOT = tmp_path
        publish_model(fields=["receipt"], only=["receipt"])
        order = Order.objects.create(receipt="old.txt")
        told.clear()
        assert order.receipt.name == "old.txt"
        order.receipt.save("new.txt", ContentFile(b"paid"))
        assert changes(told) == [("updated", {"receipt": "/new.txt"})]

    def test_deferred_field(self, told, order, django_assert_num_queries):
        """One that was not loaded, and is not written, has not changed."""
        read = Order.objects.defer("status").get()
        read.total = 5
        with django_assert_num_queries(1):
            read.save()
        assert told == []

    def test_deferred_field_that_is_written(self, told, order, django_assert_num_queries):
        """It may have changed: it is told."""
        read = Order.objects.defer("status").get()
        read.status = "paid"
        with django_assert_num_queries(1):
            read.save()
        assert changes(told) == [("updated", PAID)]

    @pytest.mark.parametrize("name", ["status", "owner_id"])
    def test_deferred_field_that_was_read_later(self, told, order, alice, name):
        """Then it was loaded, too."""
        read = Order.objects.defer(name).get()
        assert getattr(read, name) in ("open", alice.pk)
        read.save()
        assert told == []

    def test_refresh_from_db(self, told, order):
        """What it has read was loaded."""
        Order.objects.update(status="paid")
        order.refresh_from_db()
        order.save()
        assert told == []
        Order.objects.update(status="sent", total=7)
        order.refresh_from_db(fields=["total"])
        order.save()
        assert told == []

    def test_refresh_from_db_of_a_model(self, told, publish_model, monkeypatch):
        """It is called as it was, whatever it takes."""
        called: list[Any] = []
        original = Order.refresh_from_db

        def refresh_from_db(self: Any, **kwargs: Any) -> None:
            called.append(kwargs)
            original(self, **kwargs)

        monkeypatch.setattr(Order, "refresh_from_db", refresh_from_db)
        publish_model()
        order = Order.objects.create()
        order.refresh_from_db()
        order.refresh_from_db(fields=["status"])
        unregister(Order)
        assert called == [{}, {"fields": ["status"]}]
        assert Order.refresh_from_db is refresh_from_db

    @pytest.mark.parametrize("way", ["positional", "named"])
    def test_refresh_from_db_of_some_fields(self, told, order, way):
        """Others are known as before, however the fields are given."""
        order.status = "paid"
        args: Any = {"positional": ((None, ["total"]), {}), "named": ((), {"fields": ["total"]})}
        order.refresh_from_db(*args[way][0], **args[way][1])
        order.save()
        assert changes(told) == [("updated", PAID)]

    async def test_arefresh_from_db(self, told, publish_model, transactional_db):
        """The same."""
        publish_model(only=["status"])
        order = await Order.objects.acreate()
        await Order.objects.aupdate(status="paid")
        await order.arefresh_from_db()
        told.clear()
        await order.asave()
        assert told == []
        await sync_to_async(connections.close_all)()


class TestDelete:
    def test_one(self, told, publish_model, by_owner, alice):
        """Its key and its groups are those that it had."""
        order = Order.objects.create(owner=alice)
        pk = order.pk
        told.clear()
        order.delete()
        [one] = told
        assert (one.event, one.data, one.groups) == (
            "order.deleted", {"id": pk}, [f"owner.{alice.pk}"],
        )  # fmt: skip

    @pytest.mark.parametrize("model", [Order, ExportOrder])
    def test_queries(self, publish_model, told, django_assert_num_queries, model):
        """Deleting a row takes as many as without a publisher."""
        order = model.objects.create()
        with CaptureQueriesContext(connection) as plain:
            order.delete()
        publish_model(get_groups=lambda self, order: [f"owner.{order.owner_id}"])
        order = model.objects.create()
        with django_assert_num_queries(len(plain)):
            order.delete()

    def test_queryset(self, told, publish_model):
        """Each row of it."""
        publish_model()
        pks = {Order.objects.create().pk for _ in range(3)}
        told.clear()
        Order.objects.all().delete()
        assert {data["id"] for _, data in changes(told)} == pks

    def test_cascade(self, told, publish_model, alice):
        """Groups that hang on what is deleted with the row are asked for before."""
        publish_model(get_groups=lambda self, order: [f"owner.{order.owner.name}"])
        order = Order.objects.create(owner=alice)
        pk = order.pk
        told.clear()
        alice.delete()
        assert [(one.data, one.groups) for one in told] == [({"id": pk}, ["owner.alice"])]

    def test_of_what_refers_to_it(self, told, publish_model):
        """Both are told."""
        publish_model()
        publish_model(Line, fields=["text"])
        order = Order.objects.create()
        Line.objects.create(order=order, text="x")
        told.clear()
        order.delete()
        assert {one.event for one in told} == {"line.deleted", "order.deleted"}

    def test_deletion_that_fails(self, told, publish_model, monkeypatch):
        """Nothing is told."""
        publish_model()
        order = Order.objects.create()
        told.clear()

        def fail(**kwargs: Any) -> None:
            raise RuntimeError("no")

        models.signals.post_delete.connect(fail, sender=Order)
        try:
            with pytest.raises(RuntimeError):
                order.delete()
        finally:
            models.signals.post_delete.disconnect(fail, sender=Order)
        assert told == []

    def test_constructed_instance(self, told, by_owner, alice):
        """Its groups are read before the row is gone: the constructor does not know them."""
        order = Order.objects.create(owner=alice)
        told.clear()
        Order(pk=order.pk).delete()
        assert [(one.data, one.groups) for one in told] == [
            ({"id": order.pk}, [f"owner.{alice.pk}"])
        ]

    @pytest.mark.parametrize("model", [Order, ExportOrder])
    def test_instance_that_was_changed_and_not_saved(self, told, by_owner, alice, bob, model):
        """Those who could see the row are told; also where Django makes its parent of it."""
        order = model.objects.create(owner=alice)
        told.clear()
        order.owner = bob
        order.delete()
        assert [one.groups for one in told] == [[f"owner.{alice.pk}"]]


class TestRelations:
    @pytest.fixture
    def tags(self, transactional_db):
        return [Tag.objects.create(label=label) for label in "abc"]

    @pytest.fixture
    def order(self, publish_model, told, tags):
        publish_model(fields=["tags"])
        order = Order.objects.create()
        told.clear()
        return order

    def test_forward(self, told, order, tags, django_assert_num_queries):
        """add(), remove(), set() and clear(): each is told, if it does something."""
        pks = [tag.pk for tag in tags]
        order.tags.add(tags[0])
        order.tags.add(tags[0])
        order.tags.set(tags)
        order.tags.set(tags)
        order.tags.remove(tags[0])
        order.tags.clear()
        assert changes(told) == [
            ("m2m_changed", {"tags": pks[:1]}),
            ("m2m_changed", {"tags": pks}),
            ("m2m_changed", {"tags": pks[1:]}),
            ("m2m_changed", {"tags": []}),
        ]

    def test_forward_queries(self, publish_model, told, tags, django_assert_num_queries):
        """No query more, but for the one by which Django says what is new to who listens."""
        plain = Order.objects.create()
        with CaptureQueriesContext(connection) as adding:
            plain.tags.add(tags[0])
        with CaptureQueriesContext(connection) as removing:
            plain.tags.remove(tags[0])
        publish_model()
        order = Order.objects.create()
        with django_assert_num_queries(len(adding) + 1):
            order.tags.add(tags[0])
        with django_assert_num_queries(len(removing)):
            order.tags.remove(tags[0])

    def test_set_that_removes_and_adds(self, told, order, tags):
        """It is one change, as set() is one transaction."""
        order.tags.add(tags[0])
        told.clear()
        order.tags.set(tags[1:])
        assert changes(told) == [("m2m_changed", {"tags": [tag.pk for tag in tags[1:]]})]

    def test_reverse(self, told, order, tags, django_assert_num_queries):
        """Each row that gains or loses the relation is told of."""
        other = Order.objects.create()
        told.clear()
        tags[0].orders.add(order, other)
        assert changes(told) == [("m2m_changed", {"tags": [tags[0].pk]})] * 2
        tags[0].orders.remove(other)
        assert changes(told) == [("m2m_changed", {"tags": []})]
        tags[0].orders.set([other])
        assert sorted(data["tags"] for _, data in changes(told)) == [[], [tags[0].pk]]
        tags[0].orders.clear()
        assert changes(told) == [("m2m_changed", {"tags": []})]
        tags[0].orders.clear()
        assert told == []

    def test_reverse_queries(self, publish_model, told, tags, django_assert_num_queries):
        """The rows are read: one query more."""
        plain = Order.objects.create()
        with CaptureQueriesContext(connection) as adding:
            tags[0].orders.add(plain)
        with CaptureQueriesContext(connection) as clearing:
            tags[0].orders.clear()
        publish_model()
        order = Order.objects.create()
        with django_assert_num_queries(len(adding) + 1 + 1):
            tags[0].orders.add(order)
        with django_assert_num_queries(len(clearing) + 1):
            tags[0].orders.clear()

    def test_with_a_save_in_one_transaction(self, told, publish_model, tags):
        """One event, of the row as it was saved."""
        publish_model(fields=["status", "tags"])
        order = Order.objects.create()
        told.clear()
        with transaction.atomic():
            order.status = "paid"
            order.save()
            order.status = "not saved"
            order.tags.add(tags[0])
        assert changes(told) == [("updated", {"status": "paid", "tags": [tags[0].pk]})]

    def test_with_a_save_that_is_of_no_interest(self, told, publish_model, tags):
        """The relation is told."""
        publish_model(fields=["tags"], only=["status"])
        publish_model(fields=["tags"], on=["m2m_changed"])
        order = Order.objects.create()
        told.clear()
        with transaction.atomic():
            order.tags.add(tags[0])
            order.save()
        assert changes(told) == [("m2m_changed", {"tags": [tags[0].pk]})] * 2

    def test_in_the_transaction_of_the_creation(self, told, publish_model, tags):
        """The creation tells of it."""
        publish_model(fields=["tags"])
        with transaction.atomic():
            Order.objects.create().tags.add(tags[0])
        assert changes(told) == [("created", {"tags": [tags[0].pk]})]

    def test_instance_that_was_changed_and_not_saved(self, told, publish_model, tags):
        """The row is told of as it is in the database."""
        publish_model()
        order = Order.objects.create()
        told.clear()
        order.status = "not saved"
        order.tags.add(tags[0])
        assert changes(told) == [("m2m_changed", OPEN)]

    def test_groups_by_relation(self, told, publish_model, tags, django_assert_num_queries):
        """A group that the row has left is told that it is gone, as with a column."""
        publish_model(get_groups=lambda self, order: [tag.label for tag in order.tags.all()])
        order = Order.objects.create()
        order.tags.add(tags[0], tags[1])
        told.clear()
        order.tags.remove(tags[0])
        assert [(one.event, one.groups) for one in told] == [
            ("order.deleted", ["a"]),
            ("order.m2m_changed", ["b"]),
        ]
        told.clear()
        tags[1].orders.clear()
        assert [(one.event, one.groups) for one in told] == [("order.deleted", ["b"])]

    def test_groups_by_relation_and_column_in_one_transaction(
        self, told, publish_model, tags, alice, bob
    ):
        """As a form in the admin saves both: who could see the row before is told."""
        publish_model(
            get_groups=lambda self, order: [
                f"{order.owner.name}.{tag.label}" for tag in order.tags.all()
            ]
        )
        order = Order.objects.create(owner=alice)
        order.tags.add(tags[0])
        told.clear()
        with transaction.atomic():
            order.owner = bob
            order.save()
            order.tags.set([tags[1]])
        assert [(one.event, one.groups) for one in told] == [
            ("order.deleted", ["alice.a"]),
            ("order.updated", ["bob.b"]),
        ]

    def test_of_inherited_models(self, told, publish_model, tags):
        """From either side, each publisher of the row is told once."""
        publish_model(fields=["tags"], name="order")
        publish_model(ExportOrder, fields=["tags"], name="export")
        plain, export = Order.objects.create(), ExportOrder.objects.create(country="NL")
        told.clear()
        export.tags.add(tags[0])
        assert sorted(one.event for one in told) == ["export.m2m_changed", "order.m2m_changed"]
        told.clear()
        tags[0].orders.set([plain, export, Order.objects.create()])
        told[:] = [one for one in told if "created" not in one.event]
        assert sorted(one.event for one in told) == ["order.m2m_changed"] * 2
        told.clear()
        tags[0].orders.clear()
        assert sorted(one.event for one in told) == [
            "export.m2m_changed", *["order.m2m_changed"] * 3,
        ]  # fmt: skip

    def test_of_proxies(self, told, publish_model, tags):
        """The publisher of the model tells of them; one of the proxy tells of either side."""
        publish_model(name="order")
        publish_model(UrgentOrder, name="urgent")
        order = UrgentOrder.objects.create()
        told.clear()
        order.tags.add(tags[0])
        assert sorted(one.event for one in told) == ["order.m2m_changed", "urgent.m2m_changed"]

    def test_change_that_fails(self, told, order, tags, monkeypatch):
        """Nothing is told, then or later."""
        with pytest.raises(ValueError, match="x"):
            order.tags.add("x")
        order.tags.add(tags[0])
        assert len(changes(told)) == 1

    def test_of_a_row_that_was_a_fixture(self, told, publish_model, tags):
        """Once it is saved as others are, it is told of as others are."""
        publish_model()
        order = Order()
        order.save_base(raw=True)
        order.tags.add(tags[0])
        assert told == []
        order.save()
        order.tags.add(tags[1])
        assert changes(told) == [("updated", OPEN), ("m2m_changed", OPEN)]


class TestFixtures:
    def test_loaddata_is_silent(self, told, publish_model, tmp_path: Path, alice):
        """Rows and their relations; afterwards the rows are told of as others are."""
        order = Order.objects.create(owner=alice)
        order.tags.add(Tag.objects.create(label="x"))
        path = tmp_path / "orders.json"
        path.write_text(serialize("json", [*Tag.objects.all(), order]))
        order.delete()
        publish_model()
        call_command("loaddata", path, verbosity=0)
        assert Order.objects.get().tags.count() == 1
        call_command("loaddata", path, verbosity=0)
        assert told == []
        Order.objects.get().save()
        assert changes(told) == [("updated", OPEN)]


class TestInheritance:
    def test_proxy(self, told, publish_model):
        """Its rows are the model's, and are told as they are; the proxy's are told for it only."""
        publish_model()
        publish_model(UrgentOrder, on=["created", "deleted"])
        order = UrgentOrder.objects.create()
        assert sorted(one.event for one in told) == ["order.created", "urgentorder.created"]
        told.clear()
        Order.objects.get().save()
        assert changes(told) == [("updated", OPEN)]
        order.delete()
        assert sorted(one.event for one in told) == ["order.deleted", "urgentorder.deleted"]

    def test_row_changed_as_both(self, told, publish_model):
        """It is one row in the transaction."""
        publish_model()
        with transaction.atomic():
            order = UrgentOrder.objects.create()
            Order.objects.filter(pk=order.pk).get().save()
        assert changes(told) == [("created", OPEN)]

    def test_multi_table(self, told, publish_model, django_assert_num_queries):
        """A row of both tables is told for each, once."""
        publish_model()
        publish_model(ExportOrder, fields=["country"])
        order = ExportOrder.objects.create(country="NL")
        assert [(one.event, one.data) for one in told] == [
            ("order.created", OPEN), ("exportorder.created", {"country": "NL"}),
        ]  # fmt: skip
        told.clear()
        order.country = "BE"
        order.save()
        assert [one.event for one in told] == ["order.updated", "exportorder.updated"]
        told.clear()
        pk = order.pk
        order.delete()
        assert sorted((one.event, one.data) for one in told) == [
            ("exportorder.deleted", {"order_ptr": pk}),
            ("order.deleted", {"id": pk}),
        ]

    def test_multi_table_of_which_the_parent_stays(self, told, publish_model):
        """It is not told to be deleted."""
        publish_model()
        publish_model(ExportOrder, fields=["country"])
        order = ExportOrder.objects.create(country="NL")
        pk = order.pk
        told.clear()
        order.delete(keep_parents=True)
        assert [(one.event, one.data) for one in told] == [
            ("exportorder.deleted", {"order_ptr": pk})
        ]
        assert Order.objects.get().pk == pk

    def test_multi_table_with_the_parents_key_deferred(
        self, told, publish_model, django_assert_num_queries
    ):
        """It is the row's own; no query is made for it."""
        tag = Tag.objects.create(label="x")
        pk = ExportOrder.objects.create(country="NL").pk
        with CaptureQueriesContext(connection) as plain:
            ExportOrder.objects.only("country").get().save()
        publish_model(fields=["id"])
        with django_assert_num_queries(len(plain)):
            ExportOrder.objects.only("country").get().save()
        assert changes(told) == [("updated", {"id": pk})]
        unregister(Order)
        publish_model()
        ExportOrder.objects.only("country").get().tags.add(tag)
        ExportOrder.objects.only("country").get().delete()
        ExportOrder.objects.create(pk=pk, country="NL")
        ExportOrder.objects.only("country").delete()
        assert changes(told) == [
            ("m2m_changed", OPEN),
            ("deleted", {"id": pk}),
            ("created", OPEN),
            ("deleted", {"id": pk}),
        ]

    def test_multi_table_by_the_parent(self, told, publish_model):
        """Deleting the parent's row deletes the other."""
        publish_model()
        publish_model(ExportOrder, fields=["country"])
        ExportOrder.objects.create(country="NL")
        told.clear()
        Order.objects.get().delete()
        assert sorted(one.event for one in told) == ["exportorder.deleted", "order.deleted"]

    @isolate_apps("tests")
    def test_subclass_that_is_defined_later(self, told, publish_model):
        """It is told of, too, though its relations may not be there yet."""
        publish_model()

        class LateOrder(Order):
            guests = models.ManyToManyField(Account, through="Guest")

            class Meta:
                app_label = "tests"

        class Guest(models.Model):
            order = models.ForeignKey(LateOrder, models.CASCADE)
            account = models.ForeignKey(Account, models.CASCADE)

            class Meta:
                app_label = "tests"

        models.signals.post_save.send(
            LateOrder, instance=LateOrder(pk=7), created=True, raw=False,
            using="default", update_fields=None,
        )  # fmt: skip
        assert changes(told) == [("created", OPEN)]
        receivers = models.signals.m2m_changed.has_listeners
        assert receivers(Guest)
        unregister(Order)
        assert not receivers(Guest)
