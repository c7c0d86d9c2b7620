"""Sending notes. Views, commands and tasks call this; none of them need know who is reading."""

from django.db import transaction
from django.template.loader import render_to_string

from demo_project.inbox.models import Note
from django_sse import publish


@transaction.atomic
def send_note(note: Note) -> None:
    """Save *note*; once that is committed, tell its recipient's pages and the staff's."""
    note.save()
    html = render_to_string("inbox/_note.html", {"note": note})
    publish(f"inbox.{note.recipient_id}", {"html": html}, event="note")
    names = {"sender": note.sender.username, "recipient": note.recipient.username}
    publish("inbox.staff", {**names, "sent_at": note.sent_at}, event="note")
