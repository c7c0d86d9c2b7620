"""The list of workers."""

from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.asserts import assertContains

from django_sse.models import Worker
from tests.admin.pages.conftest import make_connection, make_worker

pytestmark = pytest.mark.django_db

LIST = "/admin/django_sse/worker/"


def test_list_of_workers(operator: Client) -> None:
    """Those that live, with their streams and what they have counted."""
    worker = make_worker("web-1.example.com")
    make_connection(worker)
    make_connection(worker)
    make_worker("dead.example.com", is_live=False)
    response = operator.get(LIST)
    assert [row.hostname for row in response.context["cl"].result_list] == ["web-1.example.com"]
    number = "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
    for text in (f"process {worker.pid}", "5 min 00 s", "59 min", number, "layer errors: 3"):
        assertContains(response, text)
    url = f"/admin/django_sse/connection/?worker={worker.pk}"
    assertContains(response, f'<a href="{url}"><span class="sse-number ">2</span></a>')


@pytest.mark.parametrize("workers", [1, 12])
def test_number_of_queries_is_the_same_for_any_number_of_workers(
    workers: int, operator: Client
) -> None:
    """Their streams are counted together."""
    for _ in range(workers):
        make_connection(make_worker())
    with CaptureQueriesContext(database) as queries:
        assert len(operator.get(LIST).context["cl"].result_list) == workers
    assert sum("django_sse" in query["sql"] for query in queries) == 2


@pytest.mark.parametrize("ordering", range(1, 6))
def test_list_in_another_order(ordering: int, operator: Client, worker: Worker) -> None:
    """Each column that can be has an order."""
    assert operator.get(LIST, {"o": ordering}).status_code == 200


def test_page_of_a_worker(operator: Client, worker: Worker) -> None:
    """All that it has counted, and the way to its streams."""
    response = operator.get(f"{LIST}{worker.pk}/change/")
    for text in ("Streams opened", "17", "web-1.example.com", f"?worker={worker.pk}"):
        assertContains(response, text)


def test_page_of_a_worker_that_is_gone(operator: Client) -> None:
    """As Django has it for all that is not there."""
    worker = make_worker(is_live=False)
    assert operator.get(f"{LIST}{worker.pk}/change/").status_code == 302


def test_who_may_not_view_workers(as_operator: Any, worker: Worker) -> None:
    """It is a permission of its own."""
    client = as_operator("view_connection")
    assert client.get(LIST).status_code == 403
    assert client.get(f"{LIST}{worker.pk}/change/").status_code == 403


def test_empty_list(operator: Client) -> None:
    """It says what it is empty of."""
    assertContains(operator.get(LIST), "No worker has a stream.")
    assertContains(operator.get(LIST, {"q": "x"}), "No worker is like that.")
