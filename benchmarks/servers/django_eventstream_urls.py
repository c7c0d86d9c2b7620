"""The view of django-eventstream, for users who are logged in."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.urls import path
from django_eventstream.views import events as eventstream

from benchmarks.events import GROUP


@login_required
def events(request: HttpRequest) -> Any:
    return eventstream(request, channels=[request.GET.get("group", GROUP)])


urlpatterns = [path("events", events)]
