"""Operators of a site, and rows of streams that they look at."""

import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from django.utils import timezone

from django_sse.models import Connection, Membership, Worker
from django_sse.stores.database_reading import group_key

#: Every permission that the pages know.
ALL = ("view_connection", "close_connection", "publish_event", "tap_events", "view_worker")

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _site(settings: Any) -> None:
    settings.STATIC_URL = "/static/"
    settings.ROOT_URLCONF = (
        path("admin/", admin.site.urls),
        path("accounts/login/", lambda request: HttpResponse("log in"), name="login"),
    )


Operators = Callable[..., User]


def make_operator(*codenames: str, name: str = "") -> User:
    """Return a member of staff who has just these permissions of the package."""
    user = User.objects.create_user(name or f"operator-{next(_numbers)}", is_staff=True)
    permissions = Permission.objects.filter(content_type__app_label="django_sse")
    user.user_permissions.set(permissions.filter(codename__in=codenames))
    assert user.user_permissions.count() == len(codenames)
    return user


@pytest.fixture
def as_operator(db: None) -> Callable[..., Client]:
    """Return a function that gives the browser of somebody with just these permissions."""

    def log_in(*codenames: str, name: str = "") -> Client:
        client = Client()
        client.force_login(make_operator(*codenames, name=name))
        return client

    return log_in


@pytest.fixture
def operator(as_operator: Any) -> Client:
    """The browser of somebody who may do everything there is here."""
    client: Client = as_operator(*ALL)
    return client


def make_worker(hostname: str = "web-1.example.com", *, is_live: bool = True) -> Worker:
    """Return a worker's row."""
    lease = timezone.now() + timedelta(hours=1 if is_live else -1)
    return Worker.objects.create(
        id=f"{next(_numbers):016x}",
        hostname=hostname,
        pid=4000 + next(_numbers),
        started_at=timezone.now() - timedelta(minutes=5),
        lease_until=lease,
        report_json=json.dumps(
            {"counters": {"streams_opened": 17, "layer_errors": 3, "events_sent": 1234567}}
        ),
    )


def make_connection(worker: Worker, *groups: str, **fields: Any) -> Connection:
    """Return the row of a stream in *groups*."""
    given: dict[str, Any] = {
        "id": f"c{next(_numbers):015x}",
        "view": "room-events",
        "path": "/rooms/kitchen/",
        "address": "10.0.0.1",
        "opened_at": timezone.now() - timedelta(seconds=90),
        **fields,
    }
    connection = Connection.objects.create(worker=worker, **given)
    Membership.objects.bulk_create(
        Membership(
            connection=connection,
            worker=worker,
            group_key=group_key(group),
            group_json=json.dumps(group),
        )
        for group in groups
    )
    return connection


@pytest.fixture
def worker(db: None) -> Worker:
    """A worker that lives."""
    return make_worker()


def said(response: Any) -> list[str]:
    """Return the messages of a page."""
    return [str(message) for message in response.context["messages"]]
