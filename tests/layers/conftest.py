"""The three channel layers, each with a place of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from channels.layers import channel_layers
from django.http import HttpRequest

from django_sse import EventStream, event_stream, layer_link
from django_sse import hub as hub_module
from django_sse.asgi import get_asgi_application
from django_sse.groups import layer_group
from django_sse.testing import ReceivedStream, StreamClient
from tests.clients import TIMEOUT, until
from tests.services import require_redis
from tests.settings import channel_layer

__all__ = ["OpenStream", "Place"]

RETRY = b"retry: 3000\n\n"

OpenStream = Callable[..., Awaitable[ReceivedStream]]


class Place:
    """A channel layer, as a test looks into it."""

    def __init__(self, kind: str, layer: Any) -> None:
        self.kind = kind.partition("-")[0]
        self.layer = layer
        #: The groups and channels of all calls of ``group_add``.
        self.joins: list[tuple[str, str]] = []
        self._group_add = layer.group_add
        layer.group_add = self._join

    async def _join(self, group: str, channel: str) -> None:
        self.joins.append((group, channel))
        await self._group_add(group, channel)

    def joins_of(self, name: str) -> list[str]:
        """Return the channels that were put into the group *name*, one for each call."""
        return [channel for group, channel in self.joins if group == layer_group(name)]

    async def members(self, name: str) -> int:
        """Return how many members the layer knows of the group *name*."""
        group = layer_group(name)
        if self.kind == "memory":
            return len(self.layer.groups.get(group, ()))
        if self.kind == "core":
            shard = self.layer.consistent_hash(group)
            members: int = await self.layer.connection(shard).zcard(self.layer._group_key(group))
            return members
        # The members of one process share a subscription.
        key = self.layer._get_group_channel_name(group)
        shard = self.layer._get_shard(key)
        [(_, subscribers)] = await shard._redis.pubsub_numsub(key)
        return int(subscribers)

    async def until_members(self, name: str, count: int) -> None:
        """Wait until the group *name* has *count* members."""
        async with asyncio.timeout(TIMEOUT):
            while await self.members(name) != count:  # noqa: ASYNC110 - a layer has no event
                await asyncio.sleep(0)


@pytest.fixture(
    params=[
        "memory",
        pytest.param("core", marks=pytest.mark.redis),
        pytest.param("pubsub", marks=pytest.mark.redis),
        # On three servers, over which channels_redis spreads its names.
        pytest.param("core-servers", marks=pytest.mark.redis),
        pytest.param("pubsub-servers", marks=pytest.mark.redis),
        pytest.param("pubsub-cluster", marks=pytest.mark.redis),
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    """Each of the channel layers."""
    found: str = request.param
    return found


@pytest.fixture
async def make_layer(
    kind: str, settings: Any, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[..., Place]]:
    """Return a function that makes the project's layer, with what its CONFIG is to have."""
    name, _, where = kind.partition("-")
    prefix, layers = f"test-{uuid4().hex}", []
    hosts: dict[str, Any] = {}
    if where == "cluster":
        hosts = {"hosts": request.getfixturevalue("redis_cluster").urls}
    elif where == "servers":
        hosts = {"hosts": [node.url for node in request.getfixturevalue("redis_servers")]}
    elif name != "memory":
        require_redis()

    def make(**config: Any) -> Place:
        entry: dict[str, Any] = channel_layer(name, prefix)
        entry["CONFIG"] = {**entry.get("CONFIG", {}), **hosts, **config}
        settings.CHANNEL_LAYERS = {"default": entry}
        layers.append(channel_layers["default"])
        return Place(kind, layers[-1])

    yield make
    hub = hub_module._hubs.pop(asyncio.get_running_loop(), None)
    if hub is not None:  # It receives from the layer, so it goes first.
        hub.shut_down()
        await until(lambda: not hub._tasks)
    for layer in layers:
        await layer.flush()


@pytest.fixture
def layer(make_layer: Callable[..., Place]) -> Place:
    """The project's layer, with its defaults."""
    return make_layer()


@pytest.fixture
def no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a group as soon as the last member has gone."""
    monkeypatch.setattr(layer_link, "_LINGER_SECONDS", 0)


@event_stream(groups=lambda request: request.GET.getlist("group"))
async def grouped(request: HttpRequest, stream: EventStream) -> None:
    """Stream the groups that the query names."""


def _opener(client: StreamClient) -> OpenStream:
    async def open_stream(*groups: str) -> ReceivedStream:
        query = urlencode([("group", group) for group in groups])
        exchange = await client.open(f"/grouped/?{query}")
        assert await exchange.next_frame() == RETRY
        return exchange

    return open_stream


@pytest.fixture
def open_stream(make_layer: Any, asgi: StreamClient, route: Any) -> OpenStream:
    """Return a function that opens a stream of some groups, under each entry."""
    route("grouped/", grouped)
    return _opener(asgi)


@pytest.fixture
async def open_own(make_layer: Any, route: Any) -> AsyncIterator[OpenStream]:
    """Return the same for the package's own entry alone: where the entry makes no difference."""
    route("grouped/", grouped)
    client = StreamClient(get_asgi_application(), timeout=TIMEOUT)
    yield _opener(client)
    await client.close()
