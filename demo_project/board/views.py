"""The board, its stream, and a form to write on it."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import CreateView, ListView, UpdateView

from demo_project.board.models import Announcement
from django_sse import EventStreamView


class Page(ListView):
    model = Announcement
    template_name = "board/page.html"


class Stream(EventStreamView):
    groups = "board"


class Write(LoginRequiredMixin, CreateView):
    model = Announcement
    fields = ["title", "body"]
    template_name = "board/form.html"


class Edit(LoginRequiredMixin, UpdateView):
    model = Announcement
    fields = ["title", "body"]
    template_name = "board/form.html"
