"""Streams in Django's own test cases."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import TestCase, TransactionTestCase, override_settings

from django_sse import apublish, publish
from django_sse import hub as hub_module
from django_sse.metrics import metrics
from django_sse.testing import StreamClient, StreamTestMixin, assert_published
from tests.clients import TIMEOUT
from tests.models import Room

SIGNALS = (request_started, request_finished)


@override_settings(ROOT_URLCONF="tests.testing.urls")
class InTestCase(StreamTestMixin, TestCase):
    """The application sees what the test has not committed."""

    def setUp(self) -> None:
        self.sse_client.timeout = TIMEOUT
        self.user = User.objects.create(username="ada")
        self.sse_client.force_login(self.user)

    async def test_view_sees_the_tests_rows(self):
        """Before the stream, in its guard, and in the view's own code."""
        await Room.objects.acreate(slug="lobby")
        stream = await self.sse_client.open("/mine/")
        assert (await stream.next_event()).json() == {"user": "ada", "rooms": ["lobby"]}

    async def test_commit_reaches_the_stream(self):
        """What captured callbacks publish comes in the stream."""
        stream = await self.sse_client.open("/mine/")
        await stream.next_event()
        await sync_to_async(self.act)()
        assert (await stream.next_event()).data == "placed"

    def act(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            publish(f"user.{self.user.pk}", "placed")

    async def test_hints_at_the_transaction(self):
        """What is published in the test waits for a commit that never comes."""
        stream = await self.sse_client.open("/orders/")
        await apublish("orders", 1)
        with pytest.raises(AssertionError, match="No event within") as waiting:
            await stream.next_event(timeout=0)
        with pytest.raises(AssertionError, match="No event was published") as asserting:
            async with assert_published("orders"):
                await apublish("orders", 1)
        for failure in (waiting, asserting):
            assert "A transaction is open on 'default'" in str(failure.value)
        async with assert_published("orders", data=2):
            await apublish("orders", 2, on_commit=False)

    async def test_nothing_is_left_of_another_test(self):
        """Neither rows nor rights are those of the tests before."""
        assert not await Room.objects.aexists()
        assert metrics.streams_opened == 0

    async def test_requests_of_two_clients(self):
        """Django closes no connection as long as one of them is open."""
        async with StreamClient(timeout=TIMEOUT) as other:
            stream = await self.sse_client.open("/mine/")
            assert (await other.get("/mine/")).status == 403
        await stream.next_event()
        assert (await self.sse_client.get("/echo/")).status == 404
        assert await User.objects.acount() == 1

    def test_sync(self):
        """A test without a stream is run as ever."""
        assert User.objects.get() == self.user


@override_settings(ROOT_URLCONF="tests.testing.urls")
class InTransactionTestCase(StreamTestMixin, TransactionTestCase):
    """Streams of a test that commits."""

    async def test_published_event_comes(self):
        """At once, with its data."""
        stream = await self.sse_client.open("/orders/", timeout=TIMEOUT)
        await apublish("orders", 1)
        assert (await stream.next_event(TIMEOUT)).json() == 1


def run(test: Any) -> list[Any]:
    """Run a test as a runner does; return its failures and errors."""
    result = test.defaultTestResult()
    test(result)
    assert result.testsRun == 1
    return [*result.failures, *result.errors]


@pytest.fixture
def left(transactional_db: None) -> list[Any]:
    return []


def test_streams_are_ended_with_the_test(left):
    """On its event loop, before tearDown()."""

    @override_settings(ROOT_URLCONF="tests.testing.urls")
    class Case(StreamTestMixin, TransactionTestCase):
        async def test(self) -> None:
            left.append(await self.sse_client.open("/orders/", timeout=TIMEOUT))

        def tearDown(self) -> None:
            left.append(left[0].task.done() and not left[0].task.cancelled())

    assert run(Case("test")) == []
    assert left[1] is True
    assert hub_module._hubs == {}


def test_failure_of_the_test_is_reported(left):
    """And its streams end all the same."""

    @override_settings(ROOT_URLCONF="tests.testing.urls")
    class Case(StreamTestMixin, TransactionTestCase):
        async def test(self) -> None:
            left.append(await self.sse_client.open("/orders/", timeout=TIMEOUT))
            self.fail("on purpose")

    [(_, traceback)] = run(Case("test"))
    assert "AssertionError: on purpose" in traceback
    assert left[0].task.done()


def test_test_can_be_run_again(left):
    """Nothing of a run stays with the test."""

    class Case(StreamTestMixin, TransactionTestCase):
        async def test(self) -> None:
            left.append(self.sse_client)

    case = Case("test")
    assert run(case) == run(case) == []
    assert left[0] is not left[1]


def test_requests_close_connections_again(left):
    """After the test, as Django does."""

    @override_settings(ROOT_URLCONF="tests.testing.urls")
    class Case(StreamTestMixin, TransactionTestCase):
        async def test(self) -> None:
            await self.sse_client.get("/echo/x")
            left.extend(closes_connections())

    def closes_connections() -> list[bool]:
        return [close_old_connections in signal._live_receivers(None)[0] for signal in SIGNALS]

    assert run(Case("test")) == []
    assert left == [False, False]
    assert closes_connections() == [True, True]
