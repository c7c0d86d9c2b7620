"""Checks: what is wrong with a publisher is told before the first event."""

from typing import Any

import pytest
from django.core.checks import Error, Warning
from django.db import models
from django.test.utils import isolate_apps

from django_sse import ModelPublisher, checks, register
from tests.models import Order, Seat, Tag, UrgentOrder


def found() -> list[Any]:
    return checks.check_models_that_publish()


def ids() -> list[str]:
    return [str(message.id) for message in found()]


def test_sound_publishers(publish_model):
    """Nothing is said of them."""
    publish_model(fields=["id", "owner", "owner_id", "tags"], only=["status", "owner"])
    publish_model(exclude=["details"], groups="all", on=["created"], min_interval=0.5)
    publish_model(Tag, serializer=str, min_interval=2)
    publish_model(UrgentOrder, template_name="row.html")
    publish_model(Seat, fields="__all__", get_groups=lambda self, seat: ["all"], groups=())
    assert found() == []


@pytest.mark.parametrize("option", ["fields", "exclude", "only"])
@pytest.mark.parametrize("name", ["colour", "lines", "tags__label", 7, None])
def test_unknown_field(publish_model, option, name):
    """E010: each is named, with what there is."""
    extra = {} if option != "only" else {"fields": ["id"]}
    publisher = publish_model(Order, **{option: ["status", name]}, **extra)
    names = "id, owner, status, total, due, details, receipt"
    assert found() == [
        Error(
            f"<OrderPublisher of tests.Order> names {name!r} in {option}, which is no field of the"
            " model that has a value to send or to compare.",
            hint=f"There are: {names}{', tags' if option == 'fields' else ''}.",
            obj=publisher,
            id="django_sse.E010",
        )
    ]


@pytest.mark.parametrize("option", ["exclude", "only"])
def test_relations_to_many_cannot_be_compared(publish_model, option):
    """E010: they are no columns."""
    publish_model(**{"fields": None, "exclude": ["id"], option: ["tags"]})
    assert ids() == ["django_sse.E010"]


@pytest.mark.parametrize("option", ["fields", "exclude", "only"])
@pytest.mark.parametrize("value", ["status", 5])
def test_no_list_of_fields(publish_model, option, value):
    """E010: the letters of a string are no fields."""
    extra = {} if option != "only" else {"fields": ["id"]}
    publisher = publish_model(**{option: value}, **extra)
    assert found() == [
        Error(
            f"<OrderPublisher of tests.Order> has {option} = {value!r}, which is no list.",
            hint=f"Write a list of names of fields: {option} = ['id'].",
            obj=publisher,
            id="django_sse.E010",
        )
    ]


def test_no_groups(publish_model):
    """E011."""
    publisher = publish_model(groups=())
    assert found() == [
        Error(
            "<OrderPublisher of tests.Order> has no groups: it tells nobody.",
            hint="Set groups, or write get_groups(self, instance). For live querysets alone, set"
            " live = True.",
            obj=publisher,
            id="django_sse.E011",
        )
    ]


def test_no_groups_but_live_querysets(publish_model):
    """Whoever follows a queryset is told all the same."""
    publish_model(groups=(), live=True)
    assert found() == []


@pytest.mark.parametrize("value", [5, ["all", ""], ["all", 5], b"all"])
def test_groups_that_are_no_names(publish_model, value):
    """E011, with what publish() would say."""
    publisher = publish_model(groups=value)
    [message] = found()
    assert (message.id, message.obj) == ("django_sse.E011", publisher)
    assert message.msg.startswith(
        f"<OrderPublisher of tests.Order> has groups = {value!r}: Group "
    )


def test_nothing_says_what_is_sent():
    """E012: a bare publisher must not send every column."""

    @register(Order)
    class Bare(ModelPublisher):
        groups = ["all"]

    assert found() == [
        Error(
            f"<{Bare.__qualname__} of tests.Order> does not say what is sent.",
            hint="Set fields, exclude, serializer or template_name, or write get_data(self,"
            ' instance, change); fields = "__all__" sends every column.',
            obj=Bare,
            id="django_sse.E012",
        )
    ]


def test_more_than_one_thing_says_what_is_sent(publish_model):
    """E012; beside get_data(), which may use it, one of them is no mistake."""
    publish_model(fields=["id"], get_data=lambda self, order, change: {})
    publisher = publish_model(fields=["id"], exclude=["status"], serializer=str)
    assert found() == [
        Error(
            "<OrderPublisher of tests.Order> says more than once what is sent: fields, exclude,"
            " serializer.",
            hint="Keep one of them.",
            obj=publisher,
            id="django_sse.E012",
        )
    ]


def test_serializer_that_cannot_be_called(publish_model):
    """E012."""
    publisher = publish_model(serializer="shop.serializers.OrderSerializer")
    assert found() == [
        Error(
            "<OrderPublisher of tests.Order> has serializer ="
            " 'shop.serializers.OrderSerializer', which cannot be called.",
            hint="Set it to a function of the instance, or to a serializer class.",
            obj=publisher,
            id="django_sse.E012",
        )
    ]


@pytest.mark.parametrize("value", ["a\nb", 5])
def test_name_that_no_event_type_can_begin_with(publish_model, value):
    """E015, with what publish() would say."""
    publisher = publish_model(name=value)
    [message] = found()
    assert (message.id, message.obj) == ("django_sse.E015", publisher)
    assert message.msg.startswith(
        f"<OrderPublisher of tests.Order> has name = {value!r}, with which event types begin: "
    )


@pytest.mark.parametrize(
    ("on", "problem"),
    [
        (["created", "moved", 7], "and there is no change 'moved', 7"),
        ("created", "which is no list"),
        (None, "which is no list"),
        (5, "which is no list"),
    ],
)
def test_unknown_change(publish_model, on, problem):
    """E013."""
    publisher = publish_model(on=on)
    assert found() == [
        Error(
            f"<OrderPublisher of tests.Order> has on = {on!r}, {problem}.",
            hint="Write a list of some of 'created', 'updated', 'deleted', 'm2m_changed'.",
            obj=publisher,
            id="django_sse.E013",
        )
    ]


@pytest.mark.parametrize("value", [-1, "2", None, True, float("nan"), float("inf")])
def test_interval(publish_model, value):
    """E014."""
    publisher = publish_model(min_interval=value)
    assert found() == [
        Error(
            f"<OrderPublisher of tests.Order> has min_interval = {value!r}; it must be a number of"
            " seconds, 0 or more.",
            hint="0 tells every update.",
            obj=publisher,
            id="django_sse.E014",
        )
    ]


@isolate_apps("tests")
def test_name_clash(publish_model):
    """W010: the events of two models have the same types, unless they are given names."""

    class Tag(models.Model):
        class Meta:
            app_label = "shop"

    from tests.models import Tag as OurTag

    publish_model(OurTag, fields=["id"])
    publish_model(OurTag, fields=["label"])
    publisher = publish_model(Tag, fields=["id"])
    assert found() == [
        Warning(
            "<OrderPublisher of shop.Tag> and <OrderPublisher of tests.Tag> publish events of the"
            " same types, tag.updated and so on: a page cannot tell them apart.",
            hint='Give one of them a name of its own: name = "shop.tag".',
            obj=publisher,
            id="django_sse.W010",
        )
    ]


@pytest.mark.parametrize(
    "attributes", [{"name": "other"}, {"get_event": lambda self, order, change: "o"}]
)
def test_name_of_its_own(publish_model, attributes):
    """W010 is not told then; given to two models it is."""
    publish_model(Tag, fields=["id"], name="order")
    publish_model(fields=["id"], **attributes)
    assert ids() == []
    publish_model(Seat, fields=["guest"], name="order")
    assert ids() == ["django_sse.W010"]
