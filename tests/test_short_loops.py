"""Publishing from code whose event loop ends right after, or with its process."""

import asyncio
import os
import subprocess
import sys
import textwrap
import uuid
from typing import Any

import msgpack  # type: ignore[import-untyped]  # published without types
import pytest
import redis
from asgiref.sync import async_to_sync
from channels.layers import channel_layers
from django.http import HttpResponse

from django_sse import apublish, loops, publish
from django_sse.metrics import metrics
from tests.clients import TIMEOUT
from tests.fake_layer import FakeLayer
from tests.services import require_redis


class SlowLayer(FakeLayer):
    """A layer whose group_send() takes some turns of the loop."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        self.calls.append(("group_send", group))


@pytest.fixture
def layer() -> SlowLayer:
    layer = SlowLayer()
    channel_layers.set("default", layer)
    return layer


def sent(layer: SlowLayer) -> list[str]:
    """Return the groups that were sent to, once the publishing loop has nothing left."""
    asyncio.run_coroutine_threadsafe(loops._drained(), loops._loop()).result(TIMEOUT)
    return layer.called("group_send")


def with_asyncio(main: Any) -> None:
    asyncio.run(main())


def with_asgiref(main: Any) -> None:
    async_to_sync(main)()


async def publish_two() -> None:
    publish("a", 1)
    publish("b", 2)


async def publish_two_and_wait() -> None:
    publish("a", 1)
    await asyncio.sleep(0)
    publish("b", 2)
    await asyncio.sleep(0)


@pytest.mark.parametrize("code", [publish_two, publish_two_and_wait])
@pytest.mark.parametrize("run", [with_asyncio, with_asgiref])
def test_publish_at_the_end_of_a_loop(layer, code, run):
    """What a coroutine publishes last is sent, in order, though its loop ends at once."""
    run(code)
    assert sent(layer) == ["sse.g.a", "sse.g.b"]
    assert metrics.publish_errors == 0


@pytest.mark.parametrize("run", [with_asyncio, with_asgiref])
def test_apublish_at_the_end_of_a_loop(layer, run):
    """apublish() has sent when it returns, there as elsewhere."""

    async def main() -> None:
        await apublish("a", 1)
        assert layer.called("group_send") == ["sse.g.a"]

    run(main)


def test_publish_in_an_async_view_under_wsgi(layer, client, route):
    """An async view that WSGI runs in a loop of its own is the same."""

    async def view(request):
        publish("a", 1)
        return HttpResponse("done")

    route("s/", view)
    assert client.get("/s/").content == b"done"
    assert sent(layer) == ["sse.g.a"]


def test_publish_while_the_in_memory_layer_is_used(settings):
    """With Channels' in-memory layer a plain loop publishes to its own readers."""

    async def main() -> Any:
        layer: Any = channel_layers["default"]
        await layer.group_add("sse.g.a", "channel")
        publish("a", "x")
        return await asyncio.wait_for(layer.receive("channel"), TIMEOUT)

    assert asyncio.run(main())["data"] == "x"


PROGRAM = """
    import asyncio, django
    django.setup()
    from django_sse import publish

    async def main():
        for number in range(20):
            publish("a", number)

    {run}
"""


@pytest.mark.redis
@pytest.mark.parametrize(
    "run",
    [
        "asyncio.run(main())",
        "from asgiref.sync import async_to_sync; async_to_sync(main)()",
        "[publish('a', number) for number in range(20)]",
    ],
)
def test_publish_at_the_end_of_a_process(run):
    """What a process publishes last is sent before it exits: a command, a task, a cron job."""
    prefix = uuid.uuid4().hex
    url = require_redis()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_LAYER": "pubsub",
        "TEST_LAYER_PREFIX": prefix,
    }
    with redis.Redis.from_url(url) as server, server.pubsub() as subscriber:
        subscriber.subscribe(f"{prefix}__group__sse.g.a")
        assert subscriber.get_message(timeout=TIMEOUT)["type"] == "subscribe"
        program = textwrap.dedent(PROGRAM).format(run=run)
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
        numbers: list[str] = []
        while len(numbers) < 20:
            message = subscriber.get_message(timeout=TIMEOUT)
            assert message is not None, numbers
            sent = msgpack.unpackb(message["data"])
            numbers += [event["data"] for event in sent.get("events", [sent])]
    assert numbers == [str(number) for number in range(20)]
