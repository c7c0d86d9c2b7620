"""What operators may do to streams: asked for twice, done once, logged, refused to others."""

from collections.abc import Callable
from typing import Any

import pytest
from channels.layers import channel_layers
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains

from django_sse.commands import unpack_command
from django_sse.models import Connection, Worker
from django_sse.orders import Order
from django_sse.parcels import Parcel
from django_sse.testing import capture_events
from tests.admin.pages.conftest import ALL, make_connection, make_worker, said
from tests.fake_layer import FakeLayer

pytestmark = pytest.mark.django_db

LIST = "/admin/django_sse/connection/"
EVENT = {"event": "test", "text": "This is a test."}


@pytest.fixture
def layer() -> FakeLayer:
    """A channel layer that notes what it is given."""
    layer = FakeLayer()
    channel_layers.set("default", layer)
    return layer


def commands(layer: FakeLayer) -> list[Any]:
    """Return what other workers were told to do."""
    return [unpack_command(layer.inbox.get_nowait()) for _ in range(layer.inbox.qsize())]


def logged() -> list[tuple[str, str]]:
    """Return the admin's log: what was done to what."""
    return list(LogEntry.objects.order_by("pk").values_list("object_repr", "change_message"))


def select(*rows: Connection, action: str, **fields: Any) -> dict[str, Any]:
    return {"action": action, "_selected_action": [row.pk for row in rows], "index": 0, **fields}


# Disconnect.


def test_disconnect_asks_first(operator: Client, worker: Worker, layer: FakeLayer) -> None:
    """To look at the page ends nothing."""
    row = make_connection(worker)
    response = operator.get(f"{LIST}{row.pk}/disconnect/")
    assertContains(response, "Are you sure you want to disconnect")
    assert commands(layer) == []
    assert logged() == []


def test_disconnect(operator: Client, worker: Worker, layer: FakeLayer) -> None:
    """Every worker is told, it is noted in the registry, logged, and said."""
    row, other = make_connection(worker), make_connection(worker)
    response = operator.post(f"{LIST}{row.pk}/disconnect/", follow=True)
    assert said(response) == ["The stream /rooms/kitchen/ is told to end."]
    assert commands(layer) == [Order(connections=frozenset({row.pk}))]
    for stream, closing in ((row, "disconnected"), (other, "")):
        stream.refresh_from_db()
        assert stream.closing == closing
    assert logged() == [(str(row), "Disconnected.")]


def test_disconnect_selected(operator: Client, worker: Worker, layer: FakeLayer) -> None:
    """One question and one order for all of them."""
    rows = [make_connection(worker, path=f"/{number}/") for number in range(3)]
    action = "disconnect_selected"
    response = operator.post(LIST, select(*rows[:2], action=action))
    assertContains(response, "disconnect 2 streams?")
    assertContains(response, "/0/")
    assertNotContains(response, "/2/")
    assert commands(layer) == []
    response = operator.post(LIST, select(*rows[:2], action=action, confirmed="1"), follow=True)
    assert said(response) == ["2 streams are told to end."]
    ids = frozenset(row.pk for row in rows[:2])
    assert commands(layer) == [Order(connections=ids)]
    assert set(Connection.objects.exclude(closing="").values_list("pk", flat=True)) == ids
    assert sorted(logged()) == sorted((str(row), "Disconnected.") for row in rows[:2])


def test_disconnect_all_that_a_filter_finds(
    operator: Client, worker: Worker, layer: FakeLayer
) -> None:
    """More than a form has fields, and than one message of the layer holds; no others."""
    first = make_connection(worker, path="/many/")
    fields = {name: getattr(first, name) for name in ("view", "path", "address", "opened_at")}
    Connection.objects.bulk_create(
        Connection(id=f"d{number:015x}", worker=worker, **fields) for number in range(1199)
    )
    make_connection(worker, path="/other/", view="other")
    data = select(first, action="disconnect_selected", select_across="1")
    url = f"{LIST}?view=room-events"
    response = operator.post(url, data)
    assertContains(response, "disconnect 1200 streams?")
    assertContains(response, "and 1190 more")
    assertContains(response, 'name="select_across" value="1"')
    assert response.content.count(b'name="_selected_action"') == 1
    response = operator.post(url, {**data, "confirmed": "1"}, follow=True)
    assert said(response) == ["1200 streams are told to end."]
    told = commands(layer)
    assert [len(order.connections) for order in told] == [500, 500, 200]
    assert Connection.objects.exclude(closing="").count() == 1200


# Test events.


def test_test_event_to_one_stream(operator: Client, worker: Worker, layer: FakeLayer) -> None:
    """It goes to that stream alone, by way of whatever worker has it; no history gets it."""
    row = make_connection(worker, "room.1")
    url = f"{LIST}{row.pk}/send/"
    assertContains(operator.get(url), "This is a test.")
    with capture_events() as published:
        response = operator.post(url, {**EVENT, "to": "stream"}, follow=True)
    assert said(response) == ["A test event is on its way to 1 stream."]
    [parcel] = commands(layer)
    assert isinstance(parcel, Parcel)
    assert parcel.connections == {row.pk}
    assert parcel.message["data"] == "This is a test."
    assert parcel.message["event"] == "test"
    assert published == []
    assert logged() == [(str(row), "Sent a test event “test”.")]


def test_test_event_to_a_group(
    operator: Client, worker: Worker, django_capture_on_commit_callbacks: Any
) -> None:
    """Of those of the stream, with the number of its streams; it is asked first."""
    row = make_connection(worker, "room.1", "room.2")
    make_connection(worker, "room.1")
    make_connection(make_worker(is_live=False), "room.1")
    url, data = f"{LIST}{row.pk}/send/", {**EVENT, "to": "group:room.1"}
    response = operator.post(url, data)
    assertContains(response, "The group “room.1”: 2 streams")
    assertContains(response, "Are you sure")
    with capture_events() as published, django_capture_on_commit_callbacks(execute=True):
        response = operator.post(url, {**data, "confirmed": "1"}, follow=True)
    assert [(e.groups, e.event, e.data) for e in published] == [
        (("room.1",), "test", "This is a test.")
    ]
    text = "Sent a test event “test” to the group “room.1”."
    assert said(response) == [text]
    assert logged() == [("room.1", text)]


def test_test_event_to_all(operator: Client, worker: Worker) -> None:
    """It is asked first, with the number of streams."""
    row = make_connection(worker)
    url, data = f"{LIST}{row.pk}/send/", {**EVENT, "to": "all"}
    with capture_events() as published:
        assertContains(operator.post(url, data), "All streams: 1")
    assert published == []
    with capture_events() as published:
        operator.post(url, {**data, "confirmed": "1"})
    assert [(e.groups, e.data) for e in published] == [(("",), "This is a test.")]
    assert logged() == [("all streams", "Sent a test event “test” to all streams.")]


@pytest.mark.parametrize(("group", "groups"), [("", ("",)), ("room.é", ("room.é",))])
def test_test_event_from_the_list(
    group: str,
    groups: tuple[str],
    operator: Client,
    django_capture_on_commit_callbacks: Any,
) -> None:
    """To a group that nobody may be in, or to all, where there is no stream to begin from."""
    data = {**EVENT, "group": group}
    assertContains(operator.post(f"{LIST}send/", data), "Are you sure")
    with capture_events() as published, django_capture_on_commit_callbacks(execute=True):
        operator.post(f"{LIST}send/", {**data, "confirmed": "1"})
    assert [e.groups for e in published] == [groups]


def test_test_event_leaves_no_trace_in_the_history(
    operator: Client, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    """Who comes later is not told."""
    settings.DJANGO_SSE = {"STORE": {"BACKEND": "django_sse.stores.memory.MemoryStore"}}
    from django_sse.stores import get_store

    with django_capture_on_commit_callbacks(execute=True):
        operator.post(f"{LIST}send/", {**EVENT, "group": "room.1", "confirmed": "1"})
    store = get_store()
    assert store is not None
    assert store.positions(["room.1"])["room.1"].number == 0


def test_test_event_to_selected(operator: Client, worker: Worker, layer: FakeLayer) -> None:
    """The form is the question."""
    rows = [make_connection(worker) for _ in range(3)]
    action = "send_test_event"
    response = operator.post(LIST, select(*rows[:2], action=action))
    assertContains(response, "This event goes to 2 streams:")
    assert commands(layer) == []
    data = select(*rows[:2], action=action, confirmed="1", event="", text="{}")
    response = operator.post(LIST, data, follow=True)
    assert said(response) == ["A test event is on its way to 2 streams."]
    [parcel] = commands(layer)
    assert parcel.connections == {row.pk for row in rows[:2]}
    assert "event" not in parcel.message
    assert sorted(logged()) == sorted(
        (str(row), "Sent a test event “message”.") for row in rows[:2]
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"text": ""}, "This field is required."),
        ({"event": "a\nb"}, "event"),
        ({"to": "group:another"}, "Select a valid choice."),
        ({"to": ""}, "This field is required."),
    ],
)
def test_test_event_that_is_none(
    fields: Any, problem: str, operator: Client, worker: Worker, layer: FakeLayer
) -> None:
    """The form says what is wrong, and nothing is sent."""
    row = make_connection(worker, "room.1")
    response = operator.post(f"{LIST}{row.pk}/send/", {**EVENT, "to": "stream", **fields})
    assertContains(response, problem)
    assertContains(response, "errorlist")
    assert commands(layer) == []


def test_test_event_when_the_layer_is_down(
    operator: Client, worker: Worker, layer: FakeLayer
) -> None:
    """The operator is not told that it went."""
    row = make_connection(worker)
    layer.failures["group_send"] = [ConnectionError("down")]
    response = operator.post(f"{LIST}{row.pk}/send/", {**EVENT, "to": "stream"}, follow=True)
    [text] = said(response)
    assert text.startswith("The channel layer did not take the event")


# Permissions.


def disconnect_one(client: Client, row: Connection) -> Any:
    return client.post(f"{LIST}{row.pk}/disconnect/")


def disconnect_selected(client: Client, row: Connection) -> Any:
    return client.post(LIST, select(row, action="disconnect_selected", confirmed="1"))


def send_to_one(client: Client, row: Connection) -> Any:
    return client.post(f"{LIST}{row.pk}/send/", {**EVENT, "to": "stream"})


def send_to_all(client: Client, row: Connection) -> Any:
    return client.post(f"{LIST}{row.pk}/send/", {**EVENT, "to": "all", "confirmed": "1"})


def send_to_group(client: Client, row: Connection) -> Any:
    return client.post(f"{LIST}send/", {**EVENT, "group": "room.1", "confirmed": "1"})


def send_to_selected(client: Client, row: Connection) -> Any:
    return client.post(LIST, select(row, action="send_test_event", confirmed="1", **EVENT))


NEEDED: dict[Callable[[Client, Connection], Any], str] = {
    disconnect_one: "close_connection",
    disconnect_selected: "close_connection",
    send_to_one: "publish_event",
    send_to_all: "publish_event",
    send_to_group: "publish_event",
    send_to_selected: "publish_event",
}


@pytest.mark.parametrize(("act", "permission"), NEEDED.items())
def test_action_needs_its_permission(
    act: Any, permission: str, as_operator: Any, worker: Worker, layer: FakeLayer
) -> None:
    """Without it, with all others, it is refused and does nothing; with it, it is done."""
    row = make_connection(worker, "room.1")
    others = [codename for codename in ALL if codename != permission]
    with capture_events() as published:
        assert act(as_operator(*others), row).status_code == 403
    row.refresh_from_db()
    assert (commands(layer), published, logged(), row.closing) == ([], [], [], "")
    assert act(as_operator("view_connection", permission), row).status_code == 302
    assert len(logged()) == 1


@pytest.mark.parametrize(("act", "permission"), NEEDED.items())
def test_action_needs_the_permission_to_view(
    act: Any, permission: str, as_operator: Any, worker: Worker, layer: FakeLayer
) -> None:
    """Who may not see streams may not act on them either."""
    row = make_connection(worker, "room.1")
    assert act(as_operator(permission), row).status_code == 403
    assert (commands(layer), logged()) == ([], [])


@pytest.mark.parametrize("act", NEEDED)
def test_action_of_who_is_not_staff(
    act: Any, worker: Worker, layer: FakeLayer, client: Client
) -> None:
    """They are asked to log in."""
    row = make_connection(worker, "room.1")
    assert "/login/" in act(client, row).headers["Location"]
    assert (commands(layer), logged()) == ([], [])


@pytest.mark.parametrize("act", NEEDED)
def test_action_without_a_csrf_token(
    act: Any, operator: Client, worker: Worker, layer: FakeLayer
) -> None:
    """A page of another site cannot do it in the operator's name."""
    row = make_connection(worker, "room.1")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert act(strict, row).status_code == 403
    assert (commands(layer), logged()) == ([], [])


@pytest.mark.parametrize(
    ("permission", "shown"),
    [
        ("close_connection", {"Disconnect"}),
        ("publish_event", {"Send a test event"}),
        ("tap_events", {"Tap its events"}),
    ],
)
def test_what_is_not_allowed_is_not_offered(
    permission: str, shown: set[str], as_operator: Any, worker: Worker
) -> None:
    """Neither on the page of a stream nor in the list."""
    row = make_connection(worker)
    client = as_operator("view_connection", permission)
    page = client.get(f"{LIST}{row.pk}/change/").content.decode()
    labels = {"Disconnect", "Send a test event", "Tap its events"}
    assert {label for label in labels if f">{label}<" in page} == shown
    actions = (
        dict(client.get(LIST).context["action_form"].fields["action"].choices)
        if (permission != "tap_events")
        else {}
    )
    offered = {"close_connection": "disconnect_selected", "publish_event": "send_test_event"}
    assert set(actions) - {""} == {offered[p] for p in offered if p == permission}


def test_superuser_needs_no_permission(
    as_operator: Any, worker: Worker, layer: FakeLayer, django_user_model: Any
) -> None:
    """As everywhere in Django."""
    row = make_connection(worker)
    client = as_operator()
    django_user_model.objects.update(is_superuser=True)
    assert disconnect_one(client, row).status_code == 302
    assert len(commands(layer)) == 1


def test_history_outlives_the_stream(
    operator: Client, as_operator: Any, worker: Worker, layer: FakeLayer
) -> None:
    """Who has ended it is asked afterwards; by who may view streams."""
    row = make_connection(worker, "room.1")
    operator.post(f"{LIST}{row.pk}/send/", {**EVENT, "to": "stream"})
    Connection.objects.filter(pk=row.pk).delete()
    history = f"{LIST}{row.pk}/history/"
    assertContains(operator.get(history), "Sent a test event")
    assert as_operator("view_worker").get(history).status_code == 403
    assert operator.get(f"{LIST}{row.pk}/change/").status_code == 302
