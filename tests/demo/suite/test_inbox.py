"""The inbox: who is told of a note, and who is not."""

import json

from demo_project.inbox.models import Note


async def send(users, sender, recipient, body):
    await Note.objects.acreate(sender=users[sender], recipient=users[recipient], body=body)


async def test_note_reaches_its_recipient_alone(client_of, follow, demo_data):
    """After "connected" a user's stream has what is sent to that user, and nothing else."""
    ada = await follow(await client_of("ada"), "/inbox/")
    alan = await follow(await client_of("alan"), "/inbox/")
    first = await ada.next_event()
    assert (first.event, first.json()["user"]) == ("connected", "ada")
    assert (await alan.next_event()).event == "connected"

    await send(demo_data, "grace", "ada", "for ada")
    await send(demo_data, "grace", "alan", "for alan")
    for stream, text in ((ada, "for ada"), (alan, "for alan")):
        event = await stream.next_event()
        assert event.event == "note.created"
        assert text in event.data
        assert not stream.has_unread


async def test_page_has_the_notes_that_were_sent_before(client_of, demo_data):
    """Each under an id, so that the one that comes as an event too is there once."""
    page = (await (await client_of("ada")).get("/inbox/")).body.decode()
    assert page.count('<article id="note-') == 2
    assert "spelling" in page


async def test_stream_refuses_strangers(asgi):
    """A stream that is not for the one who asks is a 403, never a redirect to a form."""
    assert (await asgi.get("/inbox/stream/")).status == 403
    assert (await asgi.get("/inbox/staff/stream/")).status == 403


async def test_staff_stream_refuses_users(client_of):
    """The staff's stream has a guard of its own: to be signed in is not enough."""
    ada = await client_of("ada")
    assert (await ada.get("/inbox/staff/stream/")).status == 403


async def test_staff_stream_says_who_wrote_to_whom(client_of, follow, demo_data):
    """Staff see each note's names and time, and not its text."""
    staff = await follow(await client_of("admin"), "/inbox/staff/")
    first = await staff.next_event()
    assert (first.event, first.json()) == ("connected", {"user": "admin"})
    await send(demo_data, "ada", "grace", "a secret")
    event = await staff.next_event()
    assert event.event == "note.created"
    assert "<td>ada</td>\n  <td>grace</td>" in event.data
    assert "<time datetime=" in event.data
    assert "secret" not in event.data


async def test_send_answers_what_came_of_it(client_of, post, demo_data):
    """The form's view names the recipient, or says which field is wrong and stores nothing."""
    ada, before = await client_of("ada"), await Note.objects.acount()
    answer = await post(ada, "/inbox/send/", recipient=demo_data["grace"].pk, body="Hello")
    assert (answer.status, json.loads(answer.body)) == (200, {"recipient": "grace"})
    answer = await post(ada, "/inbox/send/", recipient=0, body="Hello")
    assert answer.status == 400
    assert list(json.loads(answer.body)["errors"]) == ["recipient"]
    assert await Note.objects.acount() == before + 1
