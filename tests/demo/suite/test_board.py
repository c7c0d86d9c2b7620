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


async def test_stream_shows_what_is_committed(asgi):
    """A page gets the board, then each change after its commit; a rollback is no change."""
    stream = await asgi.open("/board/stream/")
    assert (await stream.next_event()).event == "board"
    await save(Announcement(title="Dropped", body="-"), roll_back=True)
    announcement = Announcement(title="Tea & <cake>", body="At four.")
    await save(announcement)
    event = await stream.next_event()
    assert event.event == "saved"
    assert event.json()["pk"] == announcement.pk
    assert "Tea &amp; &lt;cake&gt;" in event.json()["html"]
    pk = announcement.pk
    await announcement.adelete()
    event = await stream.next_event()
    assert (event.event, event.json()) == ("deleted", {"pk": pk})


async def test_stream_begins_with_the_board(asgi):
    """What was announced before the stream began is in its first event."""
    await save(Announcement(title="Before", body="-"))
    stream = await asgi.open("/board/stream/")
    assert "Before" in (await stream.next_event()).json()["html"]


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
