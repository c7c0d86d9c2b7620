"""The list of connections, and the page of one."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from django_sse.admin import ConnectionAdmin, StoredEventAdmin, WorkerAdmin
from django_sse.models import Connection, Membership, StoredEvent, Worker
from tests.admin.pages.conftest import make_connection, make_worker, said

pytestmark = pytest.mark.django_db

LIST = "/admin/django_sse/connection/"


def page_of(connection: Connection) -> str:
    return f"{LIST}{connection.pk}/change/"


def listed(client: Client, **query: Any) -> set[str]:
    """Return the paths of the streams that the list shows."""
    response = client.get(LIST, query)
    assert response.status_code == 200
    return {row.path for row in response.context["cl"].result_list}


def test_list_shows_streams_of_living_workers_only(operator: Client, worker: Worker) -> None:
    """What a killed worker has left is not there."""
    make_connection(worker, path="/here/")
    make_connection(make_worker(is_live=False), path="/gone/")
    assert listed(operator) == {"/here/"}


def test_list_shows_a_stream(operator: Client, worker: Worker) -> None:
    """Its path, view, user, groups, address, worker, and what it was sent."""
    user = User.objects.create_user("ada")
    make_connection(
        worker, "b", "a", user_id=str(user.pk), events_sent=12, bytes_sent=2048, queue_bytes=512
    )
    response = operator.get(LIST)
    for text in ("room-events", "ada", "10.0.0.1", "12 events", "2.0\xa0KB", "512\xa0bytes"):
        assertContains(response, text)
    assertContains(response, f"web-1:{worker.pid}")
    assertContains(response, "1 min 30 s")
    for group in ("a", "b"):
        assertContains(response, f'href="{LIST}?group={group}"')


def test_list_shows_what_is_wrong(operator: Client, worker: Worker) -> None:
    """A stream that lags, and one that was told to end, are marked."""
    lagging = make_connection(worker, is_lagging=True)
    assertContains(operator.get(LIST), "sse-lagging")
    assertNotContains(operator.get(LIST), "sse-ending")
    Connection.objects.filter(pk=lagging.pk).update(closing="disconnected")
    assertContains(operator.get(LIST), "sse-ending")


@pytest.mark.parametrize("rows", [3, 40])
def test_number_of_queries_is_the_same_for_any_number_of_rows(
    rows: int, operator: Client, worker: Worker
) -> None:
    """Groups, workers and the names of users are looked up together."""
    for number in range(rows):
        user = User.objects.create_user(f"user-{number}")
        make_connection(make_worker(), "all", f"room.{number}", user_id=str(user.pk))
    with CaptureQueriesContext(
        database,
    ) as queries:
        assert len(listed(operator)) == 1
    made = [query["sql"] for query in queries if "django_sse" in query["sql"]]
    # The count, the page, its groups, and what there is to choose of workers, groups and views.
    assert len(made) == 6
    assert sum('"auth_user"."username"' in query["sql"] for query in queries) == 2


def test_list_of_five_thousand(operator: Client, worker: Worker) -> None:
    """It has pages, and its count."""
    first = make_connection(worker, "all")
    fields = {name: getattr(first, name) for name in ("view", "path", "address", "opened_at")}
    Connection.objects.bulk_create(
        Connection(id=f"d{number:015x}", worker=worker, **fields) for number in range(4999)
    )
    response = operator.get(LIST)
    assertContains(response, "5000 results")
    assert len(response.context["cl"].result_list) == 50


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ada", {"/ada/"}),
        ("ADA", {"/ada/"}),
        ("4711", {"/foreign/"}),
        ("room.1", {"/foreign/"}),
        ("oom", {"/ada/", "/foreign/"}),
        ("Küche", {"/ada/"}),
        ("/fore", {"/foreign/"}),
        ("board", {"/ada/"}),
        ("10.1.", {"/foreign/"}),
        ("abcd", {"/ada/"}),
        ("ada oom", {"/ada/"}),
        ("ada 10.1.", set()),
        ("nothing", set()),
    ],
)
def test_search(words: str, found: set[str], operator: Client, worker: Worker) -> None:
    """By the user's name or id, group, path, view, address and id; each word has to be there."""
    ada = User.objects.create_user("ada")
    make_connection(
        worker,
        "room.Küche",
        id="abcd000000000000",
        user_id=str(ada.pk),
        path="/ada/",
        view="board:events",
        address="10.0.0.1",
    )
    make_connection(worker, "room.1", user_id="4711", path="/foreign/", address="10.1.0.1")
    assert listed(operator, q=words) == found


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({"group": "room.1"}, {"/one/"}),
        ({"group": "all"}, {"/one/", "/two/"}),
        ({"group": "room"}, set()),
        ({"user": "+"}, {"/one/"}),
        ({"user": "-"}, {"/two/"}),
        ({"user": "7"}, {"/one/"}),
        ({"user": "8"}, set()),
        ({"view": "other"}, {"/two/"}),
        ({"state": "lagging"}, {"/two/"}),
        ({"state": "waiting"}, {"/two/"}),
        ({"state": "fine"}, {"/one/"}),
        ({"state": "closing"}, set()),
        ({"state": "no such state"}, {"/one/", "/two/"}),
        ({"worker": "second"}, {"/two/"}),
        ({"group": "all", "view": "other"}, {"/two/"}),
    ],
)
def test_filters(chosen: Any, found: set[str], operator: Client, worker: Worker) -> None:
    """By worker, group, user, view and state."""
    make_connection(worker, "all", "room.1", user_id="7", path="/one/")
    second = make_worker("web-2")
    make_connection(second, "all", view="other", path="/two/", is_lagging=True, queue_bytes=1)
    if chosen.get("worker"):
        chosen = {"worker": second.pk}
    assert listed(operator, **chosen) == found


def test_filter_offers_the_groups_with_most_streams(operator: Client, worker: Worker) -> None:
    """The largest first and not all of them; what is chosen is there in any case."""
    for number in range(20):
        make_connection(worker, "everybody", f"room.{number}")
    make_connection(make_worker(is_live=False), "of the dead")
    response = operator.get(LIST, {"group": "room.19"})
    [spec] = [s for s in response.context["cl"].filter_specs if s.parameter_name == "group"]
    names = [name for name, _text in spec.lookup_choices]
    assert names[0] == "everybody"
    assert len(names) == 13
    assert names[-1] == "room.19"
    assertContains(response, "everybody (20)")
    assertNotContains(response, "of the dead")


def test_names_are_escaped(operator: Client, worker: Worker) -> None:
    """Whoever opens a stream chooses some of this."""
    bad = "<script>alert(1)</script>"
    row = make_connection(worker, bad, path=f"/{bad}/", view=bad, address="<b>", user_id=bad)
    for url in (LIST, page_of(row), f"{page_of(row)}?tap=1"):
        response = operator.get(url)
        assertContains(response, "&lt;script&gt;alert(1)")
        assertNotContains(response, "<script>alert(1)")
        assertNotContains(response, "<b>")


def test_without_the_registry_the_page_says_so(operator: Client, settings: Any) -> None:
    """It is no error."""
    settings.DJANGO_SSE = {"REGISTRY": False}
    for url in (LIST, "/admin/django_sse/worker/"):
        assertContains(operator.get(url), "The registry is turned off")
    assertContains(operator.get(f"{LIST}send/"), "Send a test event")


def test_empty_list(operator: Client) -> None:
    """It says what it is empty of."""
    assertContains(operator.get(LIST), "No stream is open.")
    assertContains(operator.get(LIST, {"q": "x"}), "No open stream is like that.")


def test_user_is_a_link_for_who_may_see_users(as_operator: Any, worker: Worker) -> None:
    """The name is there in any case; a user of another source has the id for a name."""
    ada = User.objects.create_user("ada")
    make_connection(worker, user_id=str(ada.pk))
    row = make_connection(worker, user_id="of-elsewhere")
    client = as_operator("view_connection")
    url = reverse("admin:auth_user_change", args=[ada.pk])
    response = client.get(LIST)
    assertContains(response, "ada")
    assertContains(response, "of-elsewhere")
    assertNotContains(response, url)
    User.objects.filter(username__startswith="operator").update(is_superuser=True)
    assertContains(client.get(LIST), url)
    assertContains(client.get(page_of(row)), "of-elsewhere")


def test_nobody_adds_changes_or_deletes(operator: Client, worker: Worker) -> None:
    """Rows are the package's; not even a superuser may."""
    row = make_connection(worker)
    User.objects.update(is_superuser=True)
    assert operator.get(f"{LIST}add/").status_code == 403
    assert operator.get(f"{LIST}{row.pk}/delete/").status_code == 403
    assert operator.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Connection.objects.filter(pk=row.pk).exists()


def test_page_of_a_stream(operator: Client, worker: Worker) -> None:
    """What is known of it, with its counters as they are, and a stream that keeps them so."""
    ada = User.objects.create_user("ada")
    row = make_connection(worker, "room.1", "all", user_id=str(ada.pk), events_sent=12)
    response = operator.get(page_of(row))
    for text in ("/rooms/kitchen/", "room.1", "all", "ada", "10.0.0.1", str(worker), row.pk):
        assertContains(response, text)
    assertContains(response, "<dd>12</dd>")
    assertContains(response, f'src="{LIST}{row.pk}/live/"')
    assertNotContains(response, "style=")
    assertContains(operator.get(f"{LIST}{row.pk}/history/"), "/rooms/kitchen/")


def test_page_of_a_stream_that_has_ended(operator: Client, worker: Worker) -> None:
    """The list says so."""
    row = make_connection(make_worker(is_live=False))
    for page in ("change", "disconnect", "send"):
        response = operator.get(f"{LIST}{row.pk}/{page}/", follow=True)
        assertRedirects(response, LIST)
        assert said(response) == ["That stream has ended."]


@pytest.mark.parametrize("page", ["", "{pk}/change/"])
def test_who_may_not_view_sees_nothing(
    page: str, as_operator: Any, worker: Worker, client: Client
) -> None:
    """Without the permission it is refused, and without a login one is asked to log in."""
    row = make_connection(worker)
    url = LIST + page.format(pk=row.pk)
    assert as_operator("close_connection", "publish_event").get(url).status_code == 403
    assert as_operator("view_connection").get(url).status_code == 200
    assert client.get(url).status_code == 302


def test_tap_is_refused_without_its_permission(as_operator: Any, worker: Worker) -> None:
    """The page with the tap is not shown, nor the way there."""
    row = make_connection(worker, "room.1")
    client = as_operator("view_connection")
    assertNotContains(client.get(page_of(row)), "?tap=1")
    assert client.get(f"{page_of(row)}?tap=1").status_code == 403
    client = as_operator("view_connection", "tap_events")
    assertContains(client.get(page_of(row)), "?tap=1")
    assertContains(client.get(f"{page_of(row)}?tap=1"), f"{row.pk}/live/?tap=1")


def test_site_of_another_name(operator: Client, worker: Worker, settings: Any) -> None:
    """Every address on its pages is in that site."""
    site = AdminSite(name="ops")
    site.register(Connection, ConnectionAdmin)
    site.register(Worker, WorkerAdmin)
    site.register(StoredEvent, StoredEventAdmin)
    site.register(User, UserAdmin)
    settings.ROOT_URLCONF = (path("ops/", site.urls), path("admin/", admin.site.urls))
    settings.DJANGO_SSE = {"STORE": {"BACKEND": "django_sse.stores.database.DatabaseStore"}}
    User.objects.update(is_superuser=True)
    row = make_connection(worker, "room.1", user_id=str(User.objects.get().pk))
    base = f"/ops/django_sse/connection/{row.pk}"
    pages = ["change/", "change/?tap=1", "send/", "disconnect/", "history/"]
    lists = ["connection/", "connection/send/", "worker/", "storedevent/"]
    for url in [*(f"{base}/{p}" for p in pages), *(f"/ops/django_sse/{p}" for p in lists)]:
        response = operator.get(url)
        assert response.status_code == 200
        assertContains(response, "/ops/")
        assertNotContains(response, '"/admin/')
    response = operator.post(f"{base}/disconnect/")
    assert response.headers["Location"] == "/ops/django_sse/connection/"


def test_memberships_of_others_are_not_shown(operator: Client, worker: Worker) -> None:
    """A stream in several groups is one row."""
    make_connection(worker, *(f"room.{number}" for number in range(5)))
    assert Membership.objects.count() == 5
    response = operator.get(LIST, {"q": "room"})
    assert response.context["cl"].result_count == 1
    assertContains(response, "+3")


@pytest.mark.parametrize("model", ["connection", "worker"])
def test_pages_without_time_zones(
    model: str, operator: Client, worker: Worker, settings: Any
) -> None:
    """A project may have turned them off."""
    settings.USE_TZ = False
    row = make_connection(worker, "room")
    page = operator.get(f"/admin/django_sse/{model}/")
    assert page.status_code == 200
    assert worker.hostname in page.content.decode()
    address = f"/admin/django_sse/{model}/{(row if model == 'connection' else worker).pk}/change/"
    assert operator.get(address).status_code == 200
