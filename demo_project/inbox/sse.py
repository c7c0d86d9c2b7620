"""What is published of notes. Views, receivers and tasks save them; none knows who is reading."""

from demo_project.inbox.models import Note
from django_sse import ModelPublisher, register


@register(Note)
class NotePublisher(ModelPublisher):
    """A note is for its recipient's pages."""

    template_name = "inbox/_note.html"
    on = ["created"]

    def get_groups(self, instance):
        return [f"inbox.{instance.recipient_id}"]


@register(Note)
class TrafficPublisher(ModelPublisher):
    """Who writes to whom is for the staff's; what they write is not."""

    template_name = "inbox/_traffic.html"
    groups = ["inbox.staff"]
    on = ["created"]
