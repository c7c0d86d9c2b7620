"""What subscribe_queryset() refuses, and how it says so."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from django_sse import ModelPublisher, subscribe_queryset
from django_sse.model_publishing.registry import register, unregister
from tests.live_querysets.reading import named
from tests.models import Room


@pytest.mark.parametrize("given", [Room, Room.objects, [], None, "rooms", Room.objects.raw("x")])
def test_no_queryset(given: Any) -> None:
    """Anything else is an error that shows the form."""
    with pytest.raises(TypeError, match=r"it takes a QuerySet, such as Order\.objects\.filter"):
        subscribe_queryset(given)


@pytest.mark.parametrize(
    "queryset",
    [
        Room.objects.values("pk"),
        Room.objects.values_list("slug", flat=True),
        Room.objects.values_list("pk", "slug", named=True),
    ],
)
def test_values(queryset: Any) -> None:
    """What is sent is for the publisher to say."""
    with pytest.raises(TypeError, match=r"a queryset of values\(\) or values_list\(\)"):
        subscribe_queryset(queryset)


@pytest.mark.parametrize(
    ("queryset", "what"),
    [
        (Room.objects.all()[:5], "that is sliced"),
        (Room.objects.all()[5:], "that is sliced"),
        (Room.objects.distinct("name"), r"with distinct\(<fields>\)"),
        (Room.objects.select_for_update(), r"with select_for_update\(\)"),
        (
            Room.objects.annotate(n=Window(RowNumber(), partition_by=F("name"))).filter(n=1),
            "with a window function",
        ),
        (Room.objects.union(named("open")), r"combined by union\(\)"),
        (named("a").intersection(named("b")), r"combined by intersection\(\)"),
    ],
)
def test_queryset_whose_rows_depend_on_each_other(queryset: Any, what: str) -> None:
    """Whether a row is in it cannot be told by a look at that row: the error has a way out."""
    with pytest.raises(ValueError, match=f"A queryset .*{what}.* cannot be followed: .*\\."):
        subscribe_queryset(queryset)


class TestPublisher:
    @pytest.fixture(autouse=True)
    def none(self, publisher: Any) -> Any:
        unregister(Room, publisher=publisher)
        yield
        register(Room, publisher)

    def test_no_publisher(self) -> None:
        """Without one nobody would tell of changes: the error names what to write."""
        with pytest.raises(ImproperlyConfigured) as caught:
            subscribe_queryset(named("open"))
        assert str(caught.value) == (
            "The rows of tests.Room cannot be followed: in an app's sse.py, register a"
            " ModelPublisher with @register(Room) and set live = True in it."
        )

    def test_publisher_that_is_not_live(self) -> None:
        """Nor does one tell that has not been asked to."""

        class Silent(ModelPublisher):
            fields = ["id"]

        register(Room, Silent)
        try:
            for chosen in (None, Silent):
                with pytest.raises(ImproperlyConfigured, match=r"set live = True in it\."):
                    subscribe_queryset(named("open"), publisher=chosen)
        finally:
            unregister(Room, publisher=Silent)

    def test_publisher_of_another_model(self) -> None:
        """One that is chosen must be the model's."""

        class Other(ModelPublisher):
            live = True

        with pytest.raises(ImproperlyConfigured, match=r"register .*Other with @register\(Room\)"):
            subscribe_queryset(named("open"), publisher=Other)

    @pytest.mark.parametrize("given", ["RoomPublisher", Room, ModelPublisher(Room)])
    def test_no_class_of_publishers(self, given: Any) -> None:
        """It is named by its class."""
        with pytest.raises(TypeError, match="must be a subclass of ModelPublisher"):
            subscribe_queryset(named("open"), publisher=given)


async def test_read_outside_the_block() -> None:
    """Before and after it there is nothing to read."""
    events = subscribe_queryset(named("open"))
    with pytest.raises(RuntimeError, match=r"async with subscribe_queryset\(...\) as events"):
        await anext(events)
    async with events:
        with pytest.raises(RuntimeError, match="open already"):
            await events.__aenter__()
        assert (await anext(events)).data == {"count": 0}
    with pytest.raises(RuntimeError, match="inside its block"):
        await anext(events)
