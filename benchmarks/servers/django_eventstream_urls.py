"""The view of django-eventstream, for users who are logged in."""

from django.contrib.auth.decorators import login_required
from django.urls import path
from django_eventstream.views import events

urlpatterns = [path("events", login_required(events), {"channels": ["ticks"]})]
