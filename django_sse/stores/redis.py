"""Histories in Redis, one stream for each group."""

import asyncio
import copy
import json
import zlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_sse.conf import get_settings, is_seconds
from django_sse.groups import layer_group
from django_sse.positions import Position
from django_sse.stores.base import BaseStore, Entry, PartlyAppended, Slice
from django_sse.stores.redis_appends import Append, Appends
from django_sse.stores.redis_clients import Clients, check_cluster_hosts, parse_hosts
from django_sse.stores.redis_scripts import POSITIONS, READ, TRIM

__all__ = ["RedisStore"]

_HEAD_SECONDS = 86_400


class RedisStore(BaseStore):
    """
    The store of any number of processes that share a Redis server, several, or a Redis Cluster.

    An event is added to its groups in one round trip, by a script that the server runs as a whole.
    Events that coroutines add in the same tick of their loop go to a server together.
    With *hosts* of more than one server, each group lives on one of them, chosen by its name. On a
    cluster it is one round trip for each group, all at once from a coroutine.

    Args:
        url: The address of the server, ``redis://…``, ``rediss://…`` or ``unix://…``.
        hosts: Instead of *url*, the servers in the forms that channels_redis takes.
        prefix: What the names of all keys begin with.
        cluster: Whether *url* or *hosts* are nodes of one Redis Cluster.
        timeout_seconds: How long to wait for a connection, and for an answer. None is
            ``CHANNEL_LAYER_TIMEOUT_SECONDS``.
        max_events: See BaseStore.
        max_age_seconds: See BaseStore.
    """

    is_shared = True

    def __init__(
        self,
        url: str | None = None,
        *,
        hosts: Any = None,
        prefix: str = "django_sse",
        cluster: bool = False,
        timeout_seconds: float | None = None,
        max_events: int = 10_000,
        max_age_seconds: float = 3600,
    ) -> None:
        super().__init__(max_events=max_events, max_age_seconds=max_age_seconds)
        if url is not None and hosts is not None:
            raise ImproperlyConfigured("RedisStore: give url or hosts, not both.")
        if not isinstance(prefix, str) or not prefix or set(prefix) & set("{}"):
            raise ImproperlyConfigured(
                f"RedisStore: prefix is {prefix!r}; it must be a string without braces, which mark"
                " what a cluster keeps together."
            )
        if not isinstance(cluster, bool):
            raise ImproperlyConfigured(
                f"RedisStore: cluster is {cluster!r}; it must be True or False."
            )
        if timeout_seconds is not None and not is_seconds(timeout_seconds):
            raise ImproperlyConfigured(
                f"RedisStore: timeout_seconds is {timeout_seconds!r}; it must be a number of"
                " seconds above 0, or None."
            )
        self._prefix = prefix
        self._is_cluster = cluster
        self._age_ms = int(self.max_age_seconds * 1000)
        self._head_ms = self._age_ms + _HEAD_SECONDS * 1000
        timeout = timeout_seconds or get_settings().channel_layer_timeout_seconds
        parsed = parse_hosts([url] if url is not None else hosts)
        if cluster:
            check_cluster_hosts(parsed)
        self._clients = [
            Clients(hosts, is_cluster=cluster, timeout_seconds=timeout)
            for hosts in ([parsed] if cluster else [[host] for host in parsed])
        ]
        limits = [self.max_events, self._age_ms, self._head_ms]
        self._appends = [Appends(clients, limits) for clients in self._clients]

    @staticmethod
    def check_hosts(hosts: Any) -> None:
        """Raise ImproperlyConfigured if this class does not take *hosts*."""
        parse_hosts(hosts)

    def append(
        self, groups: Sequence[str], message: dict[str, Any], *, again: bool = False
    ) -> list[Entry]:
        """See BaseStore.append()."""
        text = _dump(message)
        found: dict[str, Any] = {}
        away: dict[Hashable, Exception] = {}
        for shard, part in self._parts(groups):
            try:
                if away and (error := away.get(self.server_of(part[0]))):
                    raise error  # It is not waited for a second time.
                append = Append(self._keys(part), message["mark"], text, again)
                found |= zip(part, self._appends[shard].add(append), strict=True)
            except Exception as failure:
                away[self.server_of(part[0])] = failure
                found |= dict.fromkeys(part, failure)
        return self._entries(groups, message, found)

    async def aappend(
        self, groups: Sequence[str], message: dict[str, Any], *, again: bool = False
    ) -> list[Entry]:
        """See append()."""
        text = _dump(message)
        asked: list[tuple[list[str], asyncio.Future[Any]]] = []
        for shard, part in self._parts(groups):
            append = Append(self._keys(part), message["mark"], text, again)
            place = part[0] if self._is_cluster else None
            asked.append((part, self._appends[shard].aadd(append, place)))
        found: dict[str, Any] = {}
        try:
            # All come to their end before one that fails is told.
            for part, answer in asked:
                try:
                    found |= zip(part, await answer, strict=True)
                except Exception as failure:
                    found |= dict.fromkeys(part, failure)
        finally:
            for _, answer in asked:
                answer.cancel()  # Nothing goes on behind a caller who has given up.
        return self._entries(groups, message, found)

    def _entries(
        self, groups: Sequence[str], message: dict[str, Any], found: Mapping[str, Any]
    ) -> list[Entry]:
        failed = [group for group in groups if isinstance(found[group], BaseException)]
        entries = [_added(group, message, found[group]) for group in groups if group not in failed]
        if entries and failed:
            raise PartlyAppended(entries, failed) from found[failed[0]]
        if failed:
            raise found[failed[0]]
        return entries

    def server_of(self, group: str) -> Hashable:
        """See BaseStore.server_of()."""
        if self._is_cluster:
            return self._clients[0].node_of(self._keys([group])[0])
        return self._shard(group)

    def read(self, group: str, after: Position, limit: int) -> Slice:
        """See BaseStore.read()."""
        clients = self._clients[self._shard(group)]
        arguments = [after.number, limit, self._age_ms]
        return self._slice(group, clients.call(READ, self._keys([group]), arguments))

    async def aread(self, group: str, after: Position, limit: int) -> Slice:
        """See read()."""
        clients = self._clients[self._shard(group)]
        arguments = [after.number, limit, self._age_ms]
        return self._slice(group, await clients.acall(READ, self._keys([group]), arguments))

    def positions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        """See BaseStore.positions()."""
        arguments = [-1 if back is None else back, self._age_ms, self._head_ms]
        found: dict[str, Any] = {}
        for shard, part in self._parts(groups):
            answer = self._clients[shard].call(POSITIONS, self._keys(part), arguments)
            found |= zip(part, answer, strict=True)
        return {group: _position(*found[group]) for group in groups}

    async def apositions(self, groups: Sequence[str], back: int | None = 0) -> dict[str, Position]:
        """See positions()."""
        arguments = [-1 if back is None else back, self._age_ms, self._head_ms]
        parts = self._parts(groups)
        calls = [
            self._clients[shard].acall(POSITIONS, self._keys(part), arguments)
            for shard, part in parts
        ]
        # All come to their end before one that fails is told: nothing goes on behind the caller.
        answers = await asyncio.gather(*calls, return_exceptions=True)
        found: dict[str, Any] = {}
        for (_, part), answer in zip(parts, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            found |= zip(part, answer, strict=True)
        return {group: _position(*found[group]) for group in groups}

    def trim(self, group: str) -> None:
        """See BaseStore.trim()."""
        clients = self._clients[self._shard(group)]
        clients.call(TRIM, self._keys([group])[1:], [self.max_events, self._age_ms])

    async def atrim(self, group: str) -> None:
        """See trim()."""
        clients = self._clients[self._shard(group)]
        await clients.acall(TRIM, self._keys([group])[1:], [self.max_events, self._age_ms])

    def _parts(self, groups: Iterable[str]) -> list[tuple[int, list[str]]]:
        """Return the calls to make, each of groups of one server: a script's keys are on one."""
        if self._is_cluster:
            return [(0, [group]) for group in groups]
        parts: dict[int, list[str]] = {}
        for group in groups:
            parts.setdefault(self._shard(group), []).append(group)
        return list(parts.items())

    def _shard(self, group: str) -> int:
        # Not hash(), which differs from process to process.
        return zlib.crc32(group.encode()) % len(self._clients)

    def _keys(self, groups: Iterable[str]) -> list[str]:
        # A cluster places a key by what is in braces: both keys of a group are in one place.
        tags = [f"{self._prefix}:{{{layer_group(group)}}}" for group in groups]
        return [f"{tag}:{kind}" for tag in tags for kind in ("head", "log")]

    def _slice(self, group: str, answer: Sequence[Any]) -> Slice:
        number, mark, found = answer
        entries = []
        for id, (_, own_mark, _, previous, _, text) in found:
            place = int(id.partition(b"-")[0])
            message = json.loads(text)
            entries.append(Entry(group, place, own_mark.decode(), previous.decode(), message))
        return Slice(entries, _position(number, mark))


def _dump(message: Mapping[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def _added(group: str, message: dict[str, Any], answer: Sequence[str]) -> Entry:
    number, previous, *there = answer
    kept = json.loads(there[0]) if there else copy.deepcopy(message)
    return Entry(group, int(number), message["mark"], previous, kept)


def _position(number: int, mark: bytes) -> Position:
    return Position(int(number), mark.decode())
