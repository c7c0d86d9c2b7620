"""The board, its stream, and a form to write on it."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.template.loader import render_to_string
from django.views.generic import CreateView, ListView, UpdateView

from demo_project.board.models import Announcement
from django_sse import EventStreamView, ServerSentEvent


class Page(ListView):
    model = Announcement
    template_name = "board/page.html"


class Stream(EventStreamView):
    groups = "board"

    def get_initial(self):
        """Send the board as it is: a page may have missed something before it connected."""
        context = {"announcement_list": Announcement.objects.all()}
        html = render_to_string("board/_announcements.html", context)
        return [ServerSentEvent({"html": html}, event="board")]


class Write(LoginRequiredMixin, CreateView):
    model = Announcement
    fields = ["title", "body"]
    template_name = "board/form.html"


class Edit(LoginRequiredMixin, UpdateView):
    model = Announcement
    fields = ["title", "body"]
    template_name = "board/form.html"
