"""Connections to one Redis server or cluster, for every thread, event loop and process."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from redis import ConnectionPool, Redis, RedisCluster
from redis import asyncio as aio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ClusterDownError,
    ClusterError,
    MovedError,
    NoScriptError,
    RedisClusterException,
)
from redis.retry import Retry

from django_sse import processes
from django_sse.stores.redis_scripts import Script

__all__ = ["Clients", "check_cluster_hosts", "parse_hosts"]

# Of one event loop, or of the threads of one process; calls beyond it wait for their turn.
_CONNECTIONS = 50
_DEFAULT = "redis://localhost:6379"


def parse_hosts(hosts: Any) -> list[dict[str, Any]]:
    """
    Return *hosts*, in the forms that channels_redis takes, as dicts of redis-py's options.

    Raises:
        ImproperlyConfigured: If it is none of these forms, or asks for Sentinel.
    """
    if isinstance(hosts, str | bytes) or not isinstance(hosts or [], Sequence):
        raise ImproperlyConfigured(
            f"hosts is {hosts!r}; it must be a list, of URLs, (host, port) pairs or dicts."
        )
    return [_parse_host(host) for host in hosts or [_DEFAULT]]


def _parse_host(host: Any) -> dict[str, Any]:
    if isinstance(host, str):
        return {"address": host}
    if isinstance(host, tuple | list) and len(host) == 2:
        return {"host": host[0], "port": host[1]}
    if not isinstance(host, Mapping):
        raise ImproperlyConfigured(
            f"hosts has {host!r}; it must be a URL, a (host, port) pair or a dict."
        )
    if found := {"sentinels", "master_name", "connection_class"} & set(host):
        raise ImproperlyConfigured(
            f"hosts has {', '.join(sorted(found))}, which RedisStore does not know; it takes the"
            " address of one server, or of a cluster."
        )
    return dict(host)


def check_cluster_hosts(hosts: Sequence[Mapping[str, Any]]) -> None:
    """Raise ImproperlyConfigured if one of *hosts*, as of parse_hosts(), is no cluster's node."""
    for host in hosts:
        found = {**host, **_known_of(host)}
        if found.get("path"):
            raise ImproperlyConfigured(
                f"RedisStore: {found['path']!r} is a socket of this machine, and the nodes of a"
                " cluster have addresses; give redis://host:port."
            )
        if db := found.get("db"):
            raise ImproperlyConfigured(
                f"RedisStore: {_name(host)} names the database {db}, and a cluster has the"
                " database 0 alone; take it out. Projects keep apart by prefix."
            )


def _known_of(host: Mapping[str, Any]) -> dict[str, Any]:
    """Return redis-py's options for the address of *host*, as far as that is a URL."""
    return dict(parse_url(host["address"]) if "address" in host else host)  # type: ignore[no-untyped-call]


def _name(host: Mapping[str, Any]) -> str:
    """Return *host* as an error may show it, without its password."""
    known = _known_of(host)
    return known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"


class Clients:
    """
    The clients of one server, or of one cluster: one for each process and one for each event loop.

    A forked child makes its own. Those of its parent it keeps, unused: to close them would take
    the parent's sockets out of its event loop.

    Args:
        hosts: As of parse_hosts(); more than one only with *is_cluster*.
        is_cluster: Whether they are nodes of a Redis Cluster.
        timeout_seconds: How long to wait for a connection, and for an answer.
    """

    def __init__(
        self, hosts: Sequence[dict[str, Any]], *, is_cluster: bool, timeout_seconds: float
    ) -> None:
        self._hosts = hosts
        self._is_cluster = is_cluster
        self._timeout_seconds = timeout_seconds
        self._of_processes: dict[int, tuple[Any, threading.Semaphore]] = {}
        self._of_loops: dict[tuple[int, asyncio.AbstractEventLoop], _LoopClient] = {}

    def call(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run *script* and return what it returns."""
        pid = processes.pid()
        own = self._of_processes.get(pid)
        if own is None:
            with self._explained():  # That of a cluster asks it at once.
                client, slots = self._make(Redis, ConnectionPool, RedisCluster, Retry)
            own = self._of_processes.setdefault(pid, (client, threading.Semaphore(slots)))
        client, free = own
        with free, self._explained():
            try:
                return client.execute_command(*_command("EVALSHA", script, keys, arguments))
            except NoScriptError:
                return client.execute_command(*_command("EVAL", script, keys, arguments))

    async def acall(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """See call()."""
        key = (processes.pid(), asyncio.get_running_loop())
        own = self._of_loops.get(key)
        if own is None:
            made = self._make(aio.Redis, aio.ConnectionPool, aio.RedisCluster, AsyncRetry)
            own = self._of_loops[key] = _LoopClient(*made)
            _before_close(key[1], lambda: self._end(key))
        async with own.free:
            with self._explained():
                return await self._acall(own.client, script, keys, arguments)

    async def _acall(
        self, client: Any, script: Script, keys: Sequence[str], arguments: Sequence[Any]
    ) -> Any:
        if self._is_cluster:
            # Before it knows the cluster redis-py asks any node, and goes astray.
            await client.initialize()
        try:
            return await self._aexecute(client, _command("EVALSHA", script, keys, arguments))
        except NoScriptError:
            return await self._aexecute(client, _command("EVAL", script, keys, arguments))

    async def _aexecute(self, client: Any, command: tuple[Any, ...]) -> Any:
        try:
            return await client.execute_command(*command)
        except ClusterDownError:
            raise
        except ClusterError:
            # Sent to and fro, and never let in: while a slot is on its way to another node,
            # redis-py announces a call there on one connection, and makes it on another.
            try:
                return await client.get_node_from_key(command[3]).execute_command(*command)
            except AskError as error:
                return await self._aask(error.host, error.port, command)

    async def _aask(self, host: str, port: int, command: tuple[Any, ...]) -> Any:
        """Make a call to a node that is about to have its slot, on one connection."""
        options = {**self._timeouts(), **_known_of(self._hosts[0]), "host": host, "port": port}
        pool = aio.ConnectionPool(max_connections=1, **options)
        node: Any
        async with aio.Redis.from_pool(pool) as node:
            await node.execute_command("ASKING")
            return await node.execute_command(*command)

    def node_of(self, key: str) -> str | None:
        """Return which node of the cluster has *key*; None as long as no client knows."""
        known = [client for client, _ in self._of_processes.copy().values()]
        known += [own.client for own in self._of_loops.copy().values()]
        for client in reversed(known):
            with contextlib.suppress(RedisClusterException, LookupError):
                if node := client.get_node_from_key(key):
                    return str(node.name)
        return None

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Tell of servers that are not what the options say."""
        try:
            yield
        except (AskError, ClusterCrossSlotError, MovedError) as error:
            if self._is_cluster:
                raise
            raise ImproperlyConfigured(
                f"RedisStore: {self._names()} is a node of a Redis Cluster ({error}), and the"
                " option cluster is not set; set it to True, with hosts that are nodes of that"
                " cluster."
            ) from error
        except RedisClusterException as error:
            if "not enabled" not in str(error):
                raise
            raise ImproperlyConfigured(
                f"RedisStore: the option cluster is set, and {self._names()} is no node of a Redis"
                " Cluster; take the option out."
            ) from error

    def _names(self) -> str:
        return ", ".join(map(_name, self._hosts))

    async def _end(self, key: tuple[int, asyncio.AbstractEventLoop]) -> None:
        if key[0] == processes.pid():
            await self._of_loops.pop(key).close()

    def _timeouts(self) -> dict[str, Any]:
        return dict.fromkeys(("socket_timeout", "socket_connect_timeout"), self._timeout_seconds)

    def _make(self, redis: Any, pool_class: Any, cluster: Any, retry: Any) -> tuple[Any, int]:
        """Return a client, and how many connections it may have."""
        options: dict[str, Any] = {**self._timeouts(), **self._hosts[0]}
        # A call that may have been done is repeated by the caller alone, who says that it is.
        once = {"retry": retry(NoBackoff(), 0)}
        address = options.pop("address", None)
        if self._is_cluster:
            # What has moved is followed, one slot at a time: to ask for all of them anew, redis-py
            # breaks off the calls that are under way.
            options |= once | {"reinitialize_steps": 0}
            options["startup_nodes"] = self._startup_nodes(cluster)
            made = cluster.from_url(address, **options) if address else cluster(**options)
            return made, _CONNECTIONS
        pool = pool_class.from_url(address, **options) if address else pool_class(**options)
        pool.connection_kwargs |= once | {"retry_on_timeout": False, "retry_on_error": []}
        return redis(connection_pool=pool), min(_CONNECTIONS, pool.max_connections)

    def _startup_nodes(self, cluster: Any) -> list[Any]:
        """Return the nodes to ask if the first one is down."""
        node = ClusterNode if cluster is RedisCluster else aio.cluster.ClusterNode
        nodes = []
        for host in self._hosts[1:]:
            known = _known_of(host)
            nodes.append(node(known.get("host", "localhost"), known.get("port", 6379)))
        return nodes


class _LoopClient:
    """The client of one event loop."""

    def __init__(self, client: Any, connections: int) -> None:
        self.client = client
        self.free = asyncio.Semaphore(connections)

    async def close(self) -> None:
        pool = getattr(self.client, "connection_pool", None)
        await self.client.aclose()
        if pool is not None:
            await pool.disconnect()


def _before_close(
    loop: asyncio.AbstractEventLoop, end: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run *end* on *loop* just before that is closed; nothing else tells of a loop's end."""
    close = loop.close

    def closing() -> None:
        if not loop.is_running():  # If it runs, it cannot be closed, and close() says so.
            loop.close = close  # type: ignore[method-assign]
            if not loop.is_closed():
                loop.run_until_complete(end())
        close()

    loop.close = closing  # type: ignore[method-assign]


def _command(
    name: str, script: Script, keys: Sequence[str], arguments: Sequence[Any]
) -> tuple[Any, ...]:
    known = script.digest if name == "EVALSHA" else script.text
    return (name, known, len(keys), *keys, *arguments)
