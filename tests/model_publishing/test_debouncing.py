"""Updates that come faster than they are told: the last one always is."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from django_sse import event_stream, processes, subscribe
from django_sse.asgi import get_asgi_application
from django_sse.metrics import metrics
from django_sse.model_publishing import debouncing
from django_sse.model_publishing import publishers as publishers_module
from django_sse.model_publishing.debouncing import debouncer
from django_sse.testing import StreamClient
from tests.clients import TIMEOUT
from tests.model_publishing.told import Told, changes, read
from tests.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parent.parent.parent
#: No test waits for the end of such a rest.
LONG = 3600


def save(order: Order, status: str) -> None:
    order.status = status
    order.save()


class TestRest:
    @pytest.fixture
    def order(self, told, publish_model):
        publish_model(min_interval=LONG)
        order = Order.objects.create()
        told.clear()
        return order

    @pytest.fixture
    def clock(self, monkeypatch) -> list[float]:
        """The time, as the debouncer reads it."""
        now = [1000.0]
        monkeypatch.setattr(debouncing, "time", SimpleNamespace(monotonic=lambda: now[0]))
        return now

    def test_the_first_is_told_at_once(self, told, order):
        """Those that follow are not."""
        save(order, "1")
        save(order, "2")
        save(order, "3")
        assert changes(told) == [("updated", {"status": "1"})]

    def test_rows_rest_each_for_itself(self, told, order):
        """One does not hold up another."""
        other = Order.objects.create()
        told.clear()
        save(order, "1")
        save(other, "2")
        assert changes(told) == [("updated", {"status": "1"}), ("updated", {"status": "2"})]

    def test_other_changes_do_not_rest(self, told, order):
        """A row that is gone is gone at once."""
        save(order, "1")
        order.delete()
        Order.objects.create()
        assert [change for change, _ in changes(told)] == ["updated", "deleted", "created"]
        debouncer.flush()
        assert told == []

    def test_what_waits_is_read_again(self, told, order):
        """Another process may have changed it since."""
        save(order, "1")
        save(order, "2")
        Order.objects.update(status="3")
        told.clear()
        debouncer.flush()
        debouncer.flush()
        assert changes(told) == [("updated", {"status": "3"})]

    def test_row_that_has_gone(self, told, order):
        """Of it no update is told."""
        save(order, "1")
        save(order, "2")
        told.clear()
        order.delete()
        debouncer.flush()
        assert [change for change, _ in changes(told)] == ["deleted"]

    def test_row_that_cannot_be_read(self, told, order, monkeypatch, caplog):
        """It is logged and counted."""
        save(order, "1")
        save(order, "2")
        told.clear()

        def fail(*args: Any) -> Any:
            raise RuntimeError("no database")

        monkeypatch.setattr(type(Order._base_manager), "using", fail)
        debouncer.flush()
        assert told == []
        assert metrics.publish_errors == 1
        assert f"could not read the row {order.pk} again" in caplog.text

    def test_timer_that_was_lost(self, told, order, clock):
        """With its loop: an update that comes long after the rest is told, and rests again."""
        save(order, "1")
        save(order, "2")
        clock[0] += LONG + 2
        save(order, "3")
        save(order, "4")
        assert [data["status"] for _, data in changes(told)] == ["1", "3"]

    def test_groups_that_a_resting_row_has_come_to(self, told, publish_model):
        """They are told at once, as those that it has left are; the others when it is awake."""
        publish_model(
            min_interval=LONG, get_groups=lambda self, instance: ["all", instance.status]
        )
        order = Order.objects.create(status="1")
        save(order, "2")
        told.clear()
        save(order, "3")
        assert [(one.event, one.groups) for one in told] == [
            ("order.deleted", ["2"]),
            ("order.updated", ["3"]),
        ]

    def test_of_no_interest(self, told, publish_model):
        """It does not begin a rest."""
        publish_model(only=["status"], min_interval=LONG)
        order = Order.objects.create()
        order.save()
        save(order, "1")
        assert [change for change, _ in changes(told)] == ["created", "updated"]

    def test_forked_child(self, told, order, monkeypatch):
        """What waits in the parent is the parent's."""
        save(order, "1")
        save(order, "2")
        told.clear()
        with monkeypatch.context() as patch:
            patch.setattr(processes, "_pid", -1)
            debouncer.flush()
            assert told == []
            save(order, "3")
            assert changes(told) == [("updated", {"status": "3"})]
        debouncer._reset()


class TestEnd:
    """Rests that end, on the loop that publishes."""

    @pytest.fixture
    def arrived(self, monkeypatch):
        """What is told, and an event to wait for it by."""
        condition = threading.Condition()
        found: list[Told] = []

        def publish(groups: Any, data: Any, **fields: Any) -> None:
            with condition:
                found.append(read(groups, data, **fields))
                condition.notify_all()

        def wait(count: int) -> list[Any]:
            with condition:
                assert condition.wait_for(lambda: len(found) >= count, TIMEOUT)
                return [one.data["status"] for one in found]

        monkeypatch.setattr(publishers_module, "publish", publish)
        return wait

    def test_the_last_state_wins(self, arrived, publish_model):
        """And it is told by itself, without another save."""
        publish_model(on=["updated"], min_interval=0.01)
        order = Order.objects.create()
        with transaction.atomic():
            save(order, "1")
        for status in "2345":
            save(order, status)
        statuses = arrived(2)
        while statuses[-1] != "5":
            statuses = arrived(len(statuses) + 1)
        assert statuses[0] == "1"
        assert statuses == sorted(statuses)

    def test_many_rows(self, arrived, publish_model):
        """Each has its last word."""
        publish_model(on=["updated"], fields=["status"], min_interval=0.01)
        orders = [Order.objects.create() for _ in range(20)]
        for turn in "ab":
            for number, order in enumerate(orders):
                save(order, f"{turn}{number}")
        statuses = arrived(40)
        assert {f"b{number}" for number in range(20)} <= set(statuses)

    async def test_on_a_loop_that_serves(self, publish_model, transactional_db):
        """The streams get the first and the last."""
        publish_model(on=["updated"], min_interval=0.01)
        order = await Order.objects.acreate()
        received: list[str] = []
        async with subscribe("all") as events:
            for status in "123":
                order.status = status
                await order.asave()
                # Read before the next is saved: an unread one is replaced by what comes later.
                while not received or (status == "3" and received[-1] != "3"):
                    event = await asyncio.wait_for(anext(events), TIMEOUT)
                    received.append(event.data["status"])
        assert received[0] == "1"
        assert received == sorted(received)
        await sync_to_async(connections.close_all)()


_PROCESS = """
import django
django.setup()
from django.core.management import call_command
from django_sse import ModelPublisher, event_published, register
from tests.models import Order

call_command("migrate", run_syncdb=True, verbosity=0)
if {forks}:
    from multiprocessing import get_context

@register(Order)
class OrderPublisher(ModelPublisher):
    groups = ["all"]
    fields = ["status"]
    min_interval = 3600

def tell(event, **kwargs):
    print(event.event, event.data["status"], flush=True)

event_published.connect(tell)

def work():
    order = Order.objects.create()
    for status in "abc":
        order.status = status
        order.save()

if {forks}:
    process = get_context("fork").Process(target=work)
    process.start()
    process.join()
else:
    work()
"""


@pytest.mark.parametrize("forks", [False, True], ids=["process", "forked process"])
def test_at_the_end_of_the_process(tmp_path, forks):
    """What waits is told before it is over, once; also in a server's child."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_DATABASE": "sqlite",
        "TEST_DATABASE_NAME": str(tmp_path / "db.sqlite3"),
    }
    run = subprocess.run(
        [sys.executable, "-c", _PROCESS.format(forks=forks)],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert run.stdout.splitlines() == [
        "order.created open", "order.updated a", "order.updated c",
    ]  # fmt: skip


class TestStorm:
    """Ten thousand saves of ten rows, and a page that does not read."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("interval", "store"),
        [(0, None), (0, "auto"), (0.05, "auto")],
        ids=["no store", "store", "store and interval"],
    )
    async def test_page_gets_the_newest_state_of_each_row(
        self, route, publish_model, transactional_db, settings, interval, store
    ):
        """And little else; nothing of it is lost."""
        if store is not None:
            store = {"BACKEND": "django_sse.stores.memory.MemoryStore"}
        settings.DJANGO_SSE = {"STORE": store, "SEND_TIMEOUT_SECONDS": 600}
        route("s/", event_stream(groups="all")(nothing))
        publish_model(fields=["id", "status"], on=["updated"], min_interval=interval)
        orders = [await Order.objects.acreate() for _ in range(10)]
        client = StreamClient(get_asgi_application(), timeout=TIMEOUT)
        exchange = await client.open("/s/")
        exchange.stall()

        def storm() -> None:
            for turn in range(1000):
                with transaction.atomic():
                    for order in orders:
                        save(order, str(turn))
            connections.close_all()

        await asyncio.to_thread(storm)
        exchange.resume()
        page: dict[int, str] = {}
        count = 0
        while page != {order.pk: "999" for order in orders}:
            event = (await exchange.next_event()).json()
            page[event["id"]] = event["status"]
            count += 1
        assert count < 200
        assert metrics.events_dropped == 0
        await client.close()
        await sync_to_async(connections.close_all)()


async def nothing(request: Any, stream: Any) -> None:
    """Send what the groups bring."""
