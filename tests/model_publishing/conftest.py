"""What the tests of models that publish share: a publisher, and what it has told."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_sse import ModelPublisher, register
from django_sse.model_publishing import publishers as publishers_module
from django_sse.model_publishing import registry, rows, unregister
from django_sse.model_publishing.debouncing import debouncer
from tests.model_publishing.told import Told, read
from tests.models import Account, Order

#: What says what is sent.
FORMS = {"fields", "exclude", "serializer", "template_name", "get_data"}


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    """Take back what a test has registered."""
    yield
    for publisher in registry.publishers():
        unregister(publisher.model, publisher=type(publisher))
    debouncer._resting.clear()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """All that is published, as a page would read it, instead of publishing it."""
    found: list[Told] = []

    def publish(groups: Any, data: Any, **fields: Any) -> None:
        found.append(read(groups, data, **fields))

    monkeypatch.setattr(publishers_module, "publish", publish)
    monkeypatch.setattr(rows, "publish", publish)
    return found


@pytest.fixture
def publish_model() -> Callable[..., type[ModelPublisher]]:
    """Return a function that registers a publisher with attributes: of all the status, if none."""

    def make(model: Any = Order, **attributes: Any) -> type[ModelPublisher]:
        defaults: dict[str, Any] = {"groups": ["all"]}
        if not attributes.keys() & {
            "fields",
            "exclude",
            "serializer",
            "template_name",
            "get_data",
        }:
            defaults["fields"] = ["status"]
        publisher: type[ModelPublisher] = type(
            "OrderPublisher", (ModelPublisher,), {**defaults, **attributes}
        )
        register(model)(publisher)
        return publisher

    return make


@pytest.fixture
def by_owner(publish_model: Callable[..., Any]) -> Any:
    """A publisher that tells an order's owner only."""
    return publish_model(get_groups=lambda self, order: [f"owner.{order.owner_id}"])


@pytest.fixture
def alice(transactional_db: None) -> Account:
    """An owner of orders."""
    return Account.objects.create(name="alice")


@pytest.fixture
def bob(transactional_db: None) -> Account:
    """Another one."""
    return Account.objects.create(name="bob")
