"""Stores of every kind, each with histories of its own, and ways to make these old."""

import asyncio
import datetime
import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis as redis_py
from django.db.models import F

from django_sse.positions import Position
from django_sse.stores import memory
from django_sse.stores.base import BaseStore, Entry, Slice
from django_sse.stores.memory import MemoryStore
from django_sse.stores.redis import RedisStore
from tests.redis_nodes import Node
from tests.services import require_redis

__all__ = ["Form", "Kind", "age_keys", "store_options"]

ROOT = Path(__file__).parent.parent.parent
REDIS_KINDS = ("redis", "redis-hosts", "redis-cluster")

KINDS = [
    "memory",
    *(pytest.param(kind, marks=pytest.mark.redis) for kind in REDIS_KINDS),
    "database-sqlite",
    pytest.param("database-postgresql", marks=pytest.mark.postgresql),
    pytest.param("database-mariadb", marks=pytest.mark.mariadb),
]


class Kind:
    """One kind of store, and what a test does to its histories from behind."""

    def __init__(self, name: str, request: pytest.FixtureRequest) -> None:
        self.name = name
        self._request = request
        self.options: dict[str, Any] = {}
        if name in REDIS_KINDS:
            self.options = store_options(name, request)
        self._seconds = 0.0

    def make(self, **options: Any) -> BaseStore:
        """Return a store with *options*; two of one test share their histories if they can."""
        if self.name == "memory":
            return MemoryStore(**options)
        if self.options:
            return RedisStore(**self.options, **options)
        from tests.stores.databases import make_store

        return make_store(self.name, self._request, **options)

    def age(self, store: BaseStore, seconds: float) -> None:
        """Let everything be *seconds* older than it was."""
        if self.name == "memory":
            self._age_memory(seconds)
        elif isinstance(store, RedisStore):
            for client in clients_of(self.options):
                age_keys(client, self.options["prefix"], seconds)
                client.close()
        else:
            _age_rows(store, seconds)

    def _age_memory(self, seconds: float) -> None:
        self._seconds += seconds
        patch = self._request.getfixturevalue("monkeypatch")
        later = types.SimpleNamespace(monotonic=lambda: time.monotonic() + self._seconds)
        patch.setattr(memory, "time", later)

    def start(self, command: str, *arguments: object) -> "subprocess.Popen[str]":
        """Start a process of tests/stores/processes.py, with a store on the same histories."""
        environment = dict(os.environ)
        if self.name.startswith("database-"):
            from tests.stores import databases

            environment = databases.environment(self.name.removeprefix("database-"))
        given = [self.name, json.dumps(self.options), command, *map(str, arguments)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.stores.processes", *given],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def store_options(name: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the options of a RedisStore with keys of its own, which the test's end deletes."""
    options: dict[str, Any] = {"prefix": f"django_sse-test-{uuid4().hex}"}
    if name == "redis-cluster":
        options |= {"url": request.getfixturevalue("redis_cluster").urls[0], "cluster": True}
    elif name == "redis-hosts":
        first, *others = request.getfixturevalue("redis_servers")
        options["hosts"] = [first.url, *({"address": other.url} for other in others)]
    else:
        options["url"] = require_redis()
    request.addfinalizer(partial(_delete_keys, dict(options)))
    return options


def clients_of(options: dict[str, Any]) -> list[Any]:
    """Return clients of the servers that *options* name."""
    if options.get("cluster"):
        return [redis_py.RedisCluster.from_url(options["url"])]
    if "url" in options:
        return [redis_py.Redis.from_url(options["url"])]
    urls = [host["address"] if isinstance(host, dict) else host for host in options["hosts"]]
    return [redis_py.Redis.from_url(url) for url in urls]


def _delete_keys(options: dict[str, Any]) -> None:
    for client in clients_of(options):
        for key in client.scan_iter(f"{options['prefix']}:*", count=1000):
            client.delete(key)
        client.close()


def age_keys(client: Any, prefix: str, seconds: float) -> None:
    """Write the logs again with ids that say so, and let the keys expire so much earlier."""
    ms = int(seconds * 1000)
    for key in list(client.scan_iter(f"{prefix}:*", count=1000)):
        left = client.pttl(key)
        if left <= ms:
            client.delete(key)
            continue
        if key.endswith(b":log"):
            entries = client.xrange(key)
            client.delete(key)
            for id, fields in entries:
                number, _, time = id.decode().partition("-")
                client.xadd(key, fields, id=f"{number}-{int(time) - ms}")
        client.pexpire(key, left - ms)


def _age_rows(store: Any, seconds: float) -> None:
    from django_sse.models import GroupHead, StoredEvent

    age = datetime.timedelta(seconds=seconds)
    StoredEvent.objects.using(store.alias).update(created_at=F("created_at") - age)
    GroupHead.objects.using(store.alias).update(updated_at=F("updated_at") - age)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param, request)


@pytest.fixture
def store(kind: Kind) -> BaseStore:
    """A store without histories."""
    return kind.make()


class Form:
    """The sync or the async forms of stores' methods, both called as sync ones."""

    def __init__(self, runner: asyncio.Runner | None) -> None:
        self._runner = runner

    def _call(self, store: BaseStore, name: str, *args: Any, **kwargs: Any) -> Any:
        if self._runner is None:
            return getattr(store, name)(*args, **kwargs)
        return self._runner.run(getattr(store, f"a{name}")(*args, **kwargs))

    def append(
        self, store: BaseStore, groups: Sequence[str], message: dict[str, Any], **kwargs: Any
    ) -> list[Entry]:
        found: list[Entry] = self._call(store, "append", groups, message, **kwargs)
        return found

    def read(self, store: BaseStore, group: str, after: Position, limit: int) -> Slice:
        found: Slice = self._call(store, "read", group, after, limit)
        return found

    def positions(
        self, store: BaseStore, groups: Sequence[str], *back: int | None
    ) -> dict[str, Position]:
        found: dict[str, Position] = self._call(store, "positions", groups, *back)
        return found

    def trim(self, store: BaseStore, group: str) -> None:
        self._call(store, "trim", group)


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest) -> Iterator[Form]:
    if request.param == "sync":
        yield Form(None)
    else:
        with asyncio.Runner() as runner:
            yield Form(runner)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a server that a test may do anything to."""
    server = Node(tmp_path)
    try:
        yield server.start().url
    finally:
        server.kill()
