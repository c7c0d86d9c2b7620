"""What the database store keeps, browsed and published again."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.asserts import assertContains, assertNotContains

from django_sse import publish
from django_sse.models import StoredEvent
from django_sse.testing import capture_events
from tests.admin.pages.conftest import said

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.history]

LIST = "/admin/django_sse/storedevent/"
DATABASE = {"STORE": {"BACKEND": "django_sse.stores.database.DatabaseStore"}, "REGISTRY": False}
MEMORY = {"STORE": {"BACKEND": "django_sse.stores.memory.MemoryStore"}, "REGISTRY": False}


@pytest.fixture(autouse=True)
def _store_is_database(settings: Any) -> None:
    settings.DJANGO_SSE = DATABASE


@pytest.fixture
def keeper(as_operator: Any) -> Client:
    """The browser of somebody who may see stored events and publish."""
    client: Client = as_operator("view_storedevent", "publish_event")
    return client


def page_of(event: StoredEvent) -> str:
    return f"{LIST}{event.pk}/change/"


def replay(*rows: StoredEvent, **fields: Any) -> dict[str, Any]:
    return {"action": "replay", "_selected_action": [row.pk for row in rows], "index": 0, **fields}


def test_list_shows_what_the_store_keeps(keeper: Client) -> None:
    """The latest first: number, group, name, data and size."""
    publish("room.1", {"x": "é"}, event="created")
    publish("room.2", "<b>bold</b>")
    response = keeper.get(LIST)
    shown = [(row.group, row.number) for row in response.context["cl"].result_list]
    assert shown == [("room.2", 1), ("room.1", 1)]
    for text in ("created", "message", "{&quot;x&quot;:&quot;é&quot;}", "&lt;b&gt;bold"):
        assertContains(response, text)
    assertNotContains(response, "<b>bold")


@pytest.mark.parametrize("events", [2, 30])
def test_number_of_queries_is_the_same_for_any_number_of_events(
    events: int, keeper: Client
) -> None:
    """The names of the groups are looked up together."""
    for number in range(events):
        publish(f"room.{number}", number)
    with CaptureQueriesContext(database) as queries:
        assert len(keeper.get(LIST).context["cl"].result_list) == events
    assert sum('"django_sse_' in query["sql"] for query in queries) == 4


@pytest.mark.parametrize(
    ("query", "groups"),
    [
        ({"group": "Küche"}, {"Küche"}),
        ({"group": "K"}, set()),
        ({"q": "Küche"}, {"Küche"}),
        ({"q": "oom"}, {"room.1", "room.2"}),
        ({"q": "nothing"}, set()),
        ({}, {"room.1", "room.2", "Küche"}),
    ],
)
def test_search_and_filter_by_group(query: Any, groups: set[str], keeper: Client) -> None:
    """By a part of the name, or the whole of it."""
    for group in ("room.1", "room.2", "Küche"):
        publish(group, 1)
    found = keeper.get(LIST, query).context["cl"].result_list
    assert {row.group for row in found} == groups


def test_page_of_an_event(keeper: Client) -> None:
    """All of it, JSON for people to read."""
    publish(["room.1", "room.2"], {"x": ["<b>"]}, event="created", key="k", retry=5000)
    row = StoredEvent.objects.order_by("pk")[0]
    response = keeper.get(page_of(row))
    for text in ("created", "5000 ms", "room.1", "room.2", row.mark, "&quot;&lt;b&gt;&quot;"):
        assertContains(response, text)
    assertContains(response, "{\n  &quot;x&quot;")


def test_replay_asks_first(keeper: Client) -> None:
    """It says what is going to be published; nothing is yet."""
    publish("room.1", 1, event="created")
    with capture_events() as published:
        response = keeper.post(LIST, replay(StoredEvent.objects.get()))
    assertContains(response, "1 event is published again")
    assertContains(response, "created")
    assert published == []


def test_replay_to_a_group(keeper: Client) -> None:
    """In the order of their numbers, each as it was, as events of that group's history."""
    publish("room.1", {"x": 1}, event="created", key="k", retry=5000)
    publish("room.1", "{}", event="text")
    publish("room.1", "not selected")
    rows = list(StoredEvent.objects.order_by("number"))
    with capture_events() as published:
        data = replay(rows[1], rows[0], confirmed="1", group="elsewhere")
        response = keeper.post(LIST, data, follow=True)
    assert said(response) == ["2 events are published again."]
    assert [(e.groups, e.event, e.data) for e in published] == [
        (("elsewhere",), "created", {"x": 1}),
        (("elsewhere",), "text", "{}"),
    ]
    assert published[0].sent.retry == 5000
    stored = StoredEvent.objects.exclude(group_key=rows[0].group_key).order_by("number")
    assert [row.number for row in stored] == [1, 2]
    assert '"key":"k"' in stored[0].message_json
    logged = LogEntry.objects.values_list("change_message", flat=True)
    assert list(logged) == ["Published again to the group “elsewhere”."] * 2


def test_replay_to_their_own_groups(keeper: Client) -> None:
    """Where no other one is named."""
    publish("room.1", 1)
    publish("room.2", 2)
    with capture_events() as published:
        keeper.post(LIST, replay(*StoredEvent.objects.all(), confirmed="1", group=""))
    assert [(e.groups, e.data) for e in published] == [(("room.1",), 1), (("room.2",), 2)]


def test_replay_of_too_many(keeper: Client, monkeypatch: Any) -> None:
    """It is refused before anything is published."""
    monkeypatch.setattr("django_sse.admin.stored_events._MAX_REPLAYED", 2)
    for number in range(3):
        publish("room.1", number)
    data = replay(*StoredEvent.objects.all(), confirmed="1", group="")
    response = keeper.post(LIST, data, follow=True)
    assert said(response) == ["3 events are too many at once: choose 2 at most."]
    assert StoredEvent.objects.count() == 3


def test_replay_needs_the_permission_to_publish(as_operator: Any) -> None:
    """Without it, it is refused, and not offered."""
    publish("room.1", 1)
    row = StoredEvent.objects.get()
    client = as_operator("view_storedevent", "close_connection", "tap_events")
    assert client.post(LIST, replay(row, confirmed="1", group="")).status_code == 403
    assertNotContains(client.get(LIST), "Publish selected events again")
    assert StoredEvent.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_who_may_not_view_events(as_operator: Any) -> None:
    """It is a permission of its own: events are other people's."""
    publish("room.1", 1)
    client = as_operator("view_connection", "publish_event", "tap_events")
    row = StoredEvent.objects.get()
    assert client.get(LIST).status_code == 403
    assert client.get(page_of(row)).status_code == 403
    assert client.post(LIST, replay(row, confirmed="1", group="")).status_code == 403


@pytest.mark.parametrize("kept", [True, False])
def test_other_stores_have_no_page(kept: bool, keeper: Client, settings: Any) -> None:
    """What is in memory or in Redis is no rows: the admin's index does not have it either."""
    settings.DJANGO_SSE = DATABASE if kept else MEMORY
    assert keeper.get(LIST).status_code == (200 if kept else 403)
    assert ("Stored events" in keeper.get("/admin/").content.decode()) is kept
