"""The announcement board."""

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from demo_project.board.models import Announcement


@sync_to_async
def save(announcement, *, roll_back=False):
    with transaction.atomic():
        announcement.save()
        transaction.set_rollback(roll_back)


async def test_stream_shows_what_is_committed(asgi, follow, demo_data):
    """A page hears of each change after its commit; a rollback is no change."""
    stream = await follow(asgi, "/board/")
    await save(Announcement(title="Dropped", body="-"), roll_back=True)
    announcement = Announcement(title="Tea & <cake>", body="At four.")
    await save(announcement)
    event = await stream.next_event()
    assert event.event == "saved"
    assert f'id="announcement-{announcement.pk}"' in event.data
    assert "Tea &amp; &lt;cake&gt;" in event.data
    pk = announcement.pk
    await announcement.adelete()
    event = await stream.next_event()
    assert (event.event, event.json()) == ("deleted", {"pk": pk})


async def test_stream_begins_where_its_page_was_rendered(asgi, follow, demo_data, monkeypatch):
    """What is announced before the browser connects comes first, and nothing that the page has."""

    async def save_before(url):
        await save(Announcement(title="Between", body="-"))
        return await opened(url)

    opened = asgi.open
    await save(Announcement(title="Before", body="-"))
    monkeypatch.setattr(asgi, "open", save_before)
    stream = await follow(asgi, "/board/")
    assert "Between" in (await stream.next_event()).data
    assert not stream.has_unread


@pytest.mark.parametrize(("name", "may"), [("", ""), ("ada", "edit"), ("admin", "edit admin")])
def test_page_says_what_its_reader_may(name, may, client, demo_data):
    """All readers get one text; the page shows the links in it that are for its reader."""
    if name:
        client.force_login(demo_data[name])
    html = client.get("/board/").content.decode()
    assert f'data-may="{may}"' in html
    assert 'data-needs="edit" href="/board/' in html
    assert 'data-needs="admin" href="/admin/' in html


async def test_form_needs_a_user(asgi, post, client_of):
    """Only who is signed in writes on the board."""
    fields = {"title": "New", "body": "Text"}
    answer = await post(asgi, "/board/write/", **fields)
    assert answer.headers["location"] == "/login/?next=/board/write/"
    answer = await post(await client_of("ada"), "/board/write/", **fields)
    assert answer.headers["location"] == "/board/"
    assert await Announcement.objects.filter(title="New").aexists()
