"""Which models publish, and when."""

from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models import signals
from django.test.utils import isolate_apps
from django.utils.module_loading import autodiscover_modules

from django_sse import ModelPublisher, register
from django_sse.model_publishing import registry, unregister
from tests.models import Account, ExportOrder, Invoice, Numbered, Order, Tag, UrgentOrder


class AnyPublisher(ModelPublisher):
    groups = ["all"]
    fields = ["pk"]


def registered() -> list[tuple[Any, Any]]:
    return [(type(one), one.model) for one in registry.publishers()]


class TestRegister:
    def test_decorator(self):
        """It gives back the class."""

        @register(Order, Tag)
        class Publisher(ModelPublisher):
            pass

        assert isinstance(Publisher, type)
        assert registered() == [(Publisher, Order), (Publisher, Tag)]
        assert [one.model for one in Publisher.registered] == [Order, Tag]

    def test_call(self):
        """As admin.site.register()."""
        assert register(Order, AnyPublisher) is AnyPublisher
        assert registered() == [(AnyPublisher, Order)]

    def test_several_publishers_of_a_model(self):
        """Each has its own."""

        class Other(AnyPublisher):
            pass

        register(Order, AnyPublisher)
        register(Order, Other)
        assert [type(one) for one in registry.publishers_of(Order)] == [AnyPublisher, Other]
        assert [one.model for one in Other.registered] == [Order]

    def test_base_class_itself(self):
        """It is a publisher, too; a check tells that it has nothing to say."""
        register(Order, ModelPublisher)
        assert registered() == [(ModelPublisher, Order)]

    def test_publishers_of_a_model_that_inherits(self):
        """Those of its parents count, those of its children do not."""
        register(Order, AnyPublisher)
        register(ExportOrder, AnyPublisher)
        assert len(registry.publishers_of(ExportOrder)) == 2
        assert len(registry.publishers_of(UrgentOrder)) == 1
        assert len(registry.publishers_of(Order)) == 1

    @pytest.mark.parametrize("models", [("Order",), (Order, "tests.Tag"), (object,)])
    def test_what_is_no_model(self, models):
        """It is refused, and nothing is registered."""
        with pytest.raises(TypeError, match="it takes model classes"):
            register(*models)(AnyPublisher)
        assert registered() == []

    def test_no_model(self):
        """It was forgotten."""
        with pytest.raises(TypeError, match="no model for AnyPublisher"):
            register()(AnyPublisher)

    @pytest.mark.parametrize("given", [None, Order, AnyPublisher(Order), lambda order: order])
    def test_what_is_no_publisher(self, given):
        """It is refused."""
        with pytest.raises(TypeError, match="it takes a subclass of ModelPublisher"):
            register(Order)(given)

    def test_abstract_model(self):
        """It has no rows; those of the models that inherit are told."""
        with pytest.raises(ImproperlyConfigured, match="Numbered is abstract"):
            register(Numbered, AnyPublisher)
        register(Invoice, AnyPublisher)

    def test_twice(self):
        """It would tell everything twice."""
        register(Order, AnyPublisher)
        with pytest.raises(ImproperlyConfigured, match=r"is registered for tests\.Order already"):
            register(Tag, Order)(AnyPublisher)
        assert registered() == [(AnyPublisher, Order)]

    @isolate_apps("tests")
    def test_swapped_model(self, settings):
        """It is not there in this project: nothing is told, and nothing is wrong."""
        settings.TESTS_SWAPPED = "tests.Order"

        class Swapped(models.Model):
            class Meta:
                app_label = "tests"
                swappable = "TESTS_SWAPPED"

        register(Swapped, AnyPublisher)
        assert registered() == []

    def test_autodiscovery(self, tmp_path, monkeypatch):
        """The module ``sse`` of each app is imported as the apps are ready."""
        imported: list[Any] = []
        monkeypatch.setattr("django_sse.apps.autodiscover_modules", imported.append)
        apps.get_app_config("django_sse").ready()
        assert imported == ["sse"]
        assert autodiscover_modules is not None


@pytest.mark.django_db(transaction=True)
class TestUnregister:
    def test_all_of_a_model(self, told):
        """Nothing is told any more, and no signal is listened to."""
        register(Order, AnyPublisher)
        register(Order, type("Other", (AnyPublisher,), {}))
        unregister(Order)
        Order.objects.create().delete()
        assert told == []
        assert registered() == []
        assert AnyPublisher.registered == []
        for model in (Order, UrgentOrder, ExportOrder):
            for signal in (signals.post_init, signals.post_save, signals.pre_delete):
                assert not signal.has_listeners(model)
            assert "refresh_from_db" not in vars(model)
        assert not signals.m2m_changed.has_listeners(Order.tags.through)

    def test_one_publisher(self, told, publish_model):
        """Others go on."""
        one, other = publish_model(groups=["one"]), publish_model(groups=["other"])
        unregister(Order, publisher=one)
        Order.objects.create()
        assert [each.groups for each in told] == [["other"]]
        assert other.registered
        assert not one.registered

    def test_of_a_model_that_inherits(self, told, publish_model):
        """Its parent's publisher stays."""
        publish_model(name="order")
        publish_model(ExportOrder, name="export")
        unregister(ExportOrder)
        ExportOrder.objects.create()
        assert [one.event for one in told] == ["order.created"]

    def test_and_register_again(self, told, publish_model):
        """It is told once."""
        publisher = publish_model()
        unregister(Order)
        register(Order, publisher)
        Order.objects.create()
        assert len(told) == 1

    def test_what_is_not_registered(self, publish_model):
        """It is a mistake."""
        with pytest.raises(LookupError, match=r"tests\.Order has no publisher"):
            unregister(Order)
        publish_model()
        with pytest.raises(LookupError, match=r"tests\.Order has no AnyPublisher"):
            unregister(Order, publisher=AnyPublisher)

    @isolate_apps("tests")
    def test_of_a_model_with_its_own_refresh(self, publish_model, told):
        """It has it again afterwards."""

        class Fresh(models.Model):
            class Meta:
                app_label = "tests"

            def refresh_from_db(self, *args, **kwargs):
                pass

        own = Fresh.refresh_from_db
        publish_model(Fresh)
        assert Fresh.refresh_from_db is not own
        unregister(Fresh)
        assert Fresh.refresh_from_db is own


@pytest.mark.django_db(transaction=True)
def test_abstract_inheritance(told, publish_model):
    """Fields of an abstract parent are the model's own."""
    publish_model(Invoice, fields=["number"], only=["number"])
    invoice = Invoice.objects.create(number=7)
    invoice.save()
    invoice.number = 8
    invoice.save()
    assert [one.data for one in told] == [{"number": 7}, {"number": 8}]


@pytest.mark.django_db(transaction=True)
def test_other_models_are_not_touched(publish_model, told):
    """A model without a publisher pays nothing."""
    publish_model()
    Account.objects.create(name="x")
    for signal in (signals.post_init, signals.pre_save, signals.post_save, signals.pre_delete):
        assert not signal.has_listeners(Account)
    assert told == []
