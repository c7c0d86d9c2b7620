"""What of a row is told, to whom, and in which form."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from rest_framework import serializers

from django_sse import ModelPublisher
from django_sse.metrics import metrics
from tests.model_publishing.told import Told, changes
from tests.models import Order, Seat, Tag

pytestmark = pytest.mark.django_db(transaction=True)


class OrderSerializer(serializers.ModelSerializer):
    class Meta:
        model = Order
        fields = ["id", "total", "due", "owner"]


class TestData:
    def test_fields_are_sent_as_json_writes_them(self, told, publish_model, alice):
        """A relation is its key, relations are a list of them, a file is its URL."""
        names = ["id", "owner", "status", "total", "due", "details", "receipt", "tags"]
        publish_model(fields=names, on=["created"])
        order = Order.objects.create(
            owner=alice,
            total=Decimal("9.50"),
            due=date(2026, 5, 1),
            details={"gift": True},
            receipt="a/b.pdf",
        )
        [one] = told
        assert one.event == "order.created"
        assert one.groups == ["all"]
        assert one.data == {
            "id": order.pk,
            "owner": alice.pk,
            "status": "open",
            "total": "9.50",
            "due": "2026-05-01",
            "details": {"gift": True},
            "receipt": "/a/b.pdf",
            "tags": [],
        }

    def test_a_file_that_is_not_there_is_null(self, told, publish_model):
        """So that a page need not know what an empty string means."""
        publish_model(fields=["receipt"])
        Order.objects.create()
        assert told[0].data == {"receipt": None}

    def test_relations_are_read_after_the_commit(self, told, publish_model):
        """They have changed by then."""
        publish_model(fields=["tags"])
        order = Order.objects.create()
        tag = Tag.objects.create(label="new")
        told.clear()
        order.tags.add(tag)
        assert changes(told) == [("m2m_changed", {"tags": [tag.pk]})]

    def test_all_fields(self, told, publish_model, alice):
        """ "__all__" are those with a column; relations to many would each be a query."""
        publish_model(fields="__all__")
        Order.objects.create(owner=alice)
        names = ["id", "owner", "status", "total", "due", "details", "receipt"]
        assert list(told[0].data) == names

    @pytest.mark.parametrize("name", ["owner", "owner_id"])
    def test_exclude(self, told, publish_model, name):
        """All fields but these, by whichever name of the field."""
        publish_model(exclude=[name, "details"])
        Order.objects.create()
        assert list(told[0].data) == ["id", "status", "total", "due", "receipt"]

    def test_serializer_is_a_callable(self, told, publish_model):
        """What it returns is sent."""
        publish_model(serializer=lambda order: [order.pk, order.status])
        order = Order.objects.create()
        assert told[0].data == [order.pk, "open"]

    def test_serializer_of_rest_framework(self, told, publish_model, alice):
        """The class works as it is."""
        publish_model(serializer=OrderSerializer)
        order = Order.objects.create(owner=alice, total="9.5", due=date(2026, 5, 1))
        assert told[0].data == {
            "id": order.pk,
            "total": "9.50",
            "due": "2026-05-01",
            "owner": alice.pk,
        }

    def test_serializer_whose_result_has_data(self, told, publish_model):
        """Only a class is asked for ``data``: a callable has said what it wants to send."""

        class Sent(dict):
            data = "not this"

        publish_model(serializer=lambda order: Sent(status=order.status))
        Order.objects.create()
        assert told[0].data == {"status": "open"}

    def test_template_is_rendered_once_per_event(self, told, publish_model, settings):
        """However many groups it goes to; the row is there by the name of its model, too."""
        loader = (
            "django.template.loaders.locmem.Loader",
            {
                "row.html": "<p>{{ change }} {{ object.status }} {{ order.pk }}</p>",
            },
        )
        backend = "django.template.backends.django.DjangoTemplates"
        settings.TEMPLATES = [{"BACKEND": backend, "OPTIONS": {"loaders": [loader]}}]
        rendered: list[Any] = []

        def get_data(self, order, change):
            rendered.append(order)
            return ModelPublisher.get_data(self, order, change)

        publish_model(template_name="row.html", groups=["a", "b", "c"], get_data=get_data)
        order = Order.objects.create(status="<new>")
        assert told == [
            Told("order.created", f"<p>created &lt;new&gt; {order.pk}</p>", ["a", "b", "c"])
        ]
        assert len(rendered) == 1

    def test_deleted_row_is_its_key(self, told, publish_model):
        """Nothing else of it is sent, whatever is sent of others."""
        publish_model(template_name="no-such.html", on=["deleted"])
        order = Order.objects.create()
        pk = order.pk
        order.delete()
        assert changes(told) == [("deleted", {"id": pk})]

    def test_deleted_row_with_a_composite_key(self, told, publish_model):
        """Its key is both columns."""
        publish_model(Seat, fields=["guest"])
        seat = Seat.objects.create(row="A", number=7)
        seat.guest = "Ann"
        seat.save()
        seat.delete()
        assert changes(told) == [
            ("created", {"guest": ""}),
            ("updated", {"guest": "Ann"}),
            ("deleted", {"pk": ["A", 7]}),
        ]

    def test_get_data_says_something_else(self, told, publish_model):
        """It is given the row and the change."""
        publish_model(get_data=lambda self, order, change: f"{order.pk} {change}")
        order = Order.objects.create()
        assert told[0].data == f"{order.pk} created"

    def test_deferred_field_that_is_sent_is_read(self, told, publish_model):
        """That is the one query more."""
        publish_model(fields=["status", "total"])
        Order.objects.create(total="3.00")
        told.clear()
        order = Order.objects.defer("total").get()
        order.status = "paid"
        order.save()
        assert changes(told) == [("updated", {"status": "paid", "total": "3.00"})]


class TestGroups:
    def test_each_group_is_told_once(self, told, publish_model):
        """get_groups() may name one twice."""
        publish_model(get_groups=lambda self, order: ["a", "b", "a"])
        Order.objects.create()
        assert told[0].groups == ["a", "b"]

    def test_one_group_is_a_string(self, told, publish_model):
        """As publish() takes it; its letters are no groups."""
        publish_model(groups="orders")
        publish_model(get_groups=lambda self, order: "all")
        Order.objects.create()
        assert [one.groups for one in told] == [["orders"], ["all"]]

    def test_none_is_nobody(self, told, publish_model, caplog):
        """A method that returns nothing tells nobody, which is no error."""
        publish_model(get_groups=lambda self, order: None)
        Order.objects.create().delete()
        assert told == caplog.records == []

    def test_no_group_is_told_of_nothing(self, told, publish_model):
        """Then nothing is rendered either."""
        asked: list[Any] = []
        publish_model(groups=[], get_data=lambda self, *args: asked.append(args))
        Order.objects.create().delete()
        assert told == asked == []


class TestChoice:
    def test_on(self, told, publish_model):
        """Other changes are not told."""
        publish_model(on=["updated"])
        order = Order.objects.create()
        order.tags.set([Tag.objects.create(label="x")])
        order.save()
        order.delete()
        assert changes(told) == [("updated", {"status": "open"})]

    def test_should_publish(self, told, publish_model):
        """It looks at the row and the change; a row it refuses is not rendered."""
        publish_model(should_publish=lambda self, order, change: order.status != change)
        for status in ("created", "open"):
            Order.objects.create(status=status)
        assert changes(told) == [("created", {"status": "open"})]

    def test_name(self, told, publish_model):
        """Event types begin with it."""
        publish_model(name="shop.order")
        Order.objects.create()
        assert told[0].event == "shop.order.created"

    def test_get_event(self, told, publish_model):
        """Or are something else altogether."""
        publish_model(get_event=lambda self, order, change: f"{order.status}!{change}")
        Order.objects.create()
        assert told[0].event == "open!created"


class TestKey:
    def test_updates_have_one_and_what_is_new_or_gone_has_none(self, told, publish_model):
        """A slow page's unsent update gives way to the next, and to nothing else."""
        publish_model()
        publish_model()
        order = Order.objects.create()
        order.save()
        order.tags.add(Tag.objects.create(label="x"))
        pk = order.pk
        order.delete()
        publisher = "tests.model_publishing.conftest.OrderPublisher"
        keys = [(one.event.rpartition(".")[2], one.key) for one in told[::2]]
        assert keys == [
            ("created", None),
            ("updated", f"{publisher}:order.updated:default:tests.Order:{pk}:updated"),
            ("m2m_changed", f"{publisher}:order.m2m_changed:default:tests.Order:{pk}:m2m_changed"),
            ("deleted", None),
        ]

    def test_publishers_of_one_name_have_keys_of_their_own(self, told, publish_model):
        """Of two apps, or with two types of event: neither hides the other's news."""
        publish_model(name="a")
        publish_model(name="b")
        publish_model(name="b", __module__="other.sse")
        order = Order.objects.create()
        told.clear()
        order.save()
        assert len({one.key for one in told}) == 3


class TestErrors:
    @pytest.mark.parametrize("method", ["get_data", "get_groups", "get_event", "should_publish"])
    def test_code_that_fails_does_not_fail_the_save(self, told, publish_model, caplog, method):
        """Nor the deletion: it is logged and counted, and the row is there, or gone."""

        def fail(*args: Any) -> Any:
            raise RuntimeError("broken")

        publish_model(fields=["status"], **{method: fail})
        publish_model()
        order = Order.objects.create()
        pk = order.pk
        order.tags.add(Tag.objects.create(label="x"))
        order.status = "paid"
        order.save()
        assert Order.objects.get().status == "paid"
        order.delete()
        assert not Order.objects.exists()
        assert [change for change, _ in changes(told)] == [
            "created",
            "m2m_changed",
            "updated",
            "deleted",
        ]
        assert metrics.publish_errors >= 4
        assert all(record.name == "django.sse" for record in caplog.records)
        assert "broken" in caplog.text
        assert f"row {pk} was created" in caplog.text

    def test_template_that_is_missing(self, told, publish_model, caplog):
        """Likewise."""
        publish_model(template_name="no-such.html")
        Order.objects.create()
        assert Order.objects.count() == metrics.publish_errors == 1
        assert told == []

    def test_field_that_there_is_not(self, told, publish_model, caplog):
        """Likewise; a check tells of it first."""
        publish_model(only=["colour"])
        order = Order.objects.create()
        order.save()
        assert changes(told) == [("created", {"status": "open"})]
        assert metrics.publish_errors == 1

    def test_row_that_cannot_be_written_out_is_logged(self, publish_model, caplog, monkeypatch):
        """The log names the row by its key: what its __str__ does is not known."""
        monkeypatch.setattr(Order, "__str__", lambda self: self.no_such_name)
        publish_model(get_data=lambda self, order, change: object())
        Order.objects.create()
        assert metrics.publish_errors == 1
        assert "cannot be written as JSON" in caplog.text
