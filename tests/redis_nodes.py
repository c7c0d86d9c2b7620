"""Redis servers of the tests' own: plain ones, and the nodes of a cluster."""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import redis
from redis.crc import key_slot

from django_sse.groups import layer_group
from tests.servers.processes import Process
from tests.servers.waiting import TIMEOUT
from tests.services import free_port, require_program

__all__ = ["Cluster", "Node", "slot_of", "until"]

_SLOTS = 16_384
# The node timeout of a cluster: nothing is promoted by itself, for a machine that stalls must not
# look like one that has failed.
_NEVER_MS = 600_000


def until(holds: Callable[[], object], but: Callable[[], object] = str) -> None:
    """Wait until ``holds()``; the servers need moments to agree, and tell nobody when they do."""
    deadline = time.monotonic() + 2 * TIMEOUT
    while not holds():
        assert time.monotonic() < deadline, but()
        time.sleep(0.01)


def slot_of(group: str) -> int:
    """Return in which slot of a cluster the store keeps *group*."""
    return key_slot(layer_group(group).encode())


class Node:
    """A port, and the redis-server that listens there now and then; its files stay."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = options
        self._process: Process | None = None

    def start(self) -> Self:
        """Start it, with what it has on its disk, and wait until it answers."""
        command = [require_program("redis-server"), "--port", str(self.port)]
        command += ["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"]
        command += ["--dir", str(self._folder), "--repl-diskless-sync-delay", "0", *self._options]
        self._folder.mkdir(exist_ok=True)
        process = self._process = Process(f"redis-server {self.port}", command, self._folder)
        until(self._answers, lambda: process.output)
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.call("PING"))
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    def call(self, *command: object) -> Any:
        """Return the node's answer to *command*."""
        with redis.Redis(port=self.port) as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """End it at once, with no word to its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.stop()
            self._process = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and not killed."""
        return self._process is not None

    @property
    def id(self) -> str:
        """By what name its cluster knows it."""
        found: str = self.call("CLUSTER MYID").decode()
        return found

    def peers(self) -> dict[str, Any]:
        """Return what it knows of its cluster, by the port of each node."""
        found = self.call("CLUSTER NODES")
        return {address.rpartition(":")[2]: about for address, about in found.items()}


def _has_its_master(replica: Node) -> bool:
    return bool(replica.call("INFO", "replication")["master_link_status"] == "up")


class Cluster:
    """
    A Redis Cluster, whose masters have equal parts of the slots.

    Args:
        folder: For the files of the nodes.
        replicas: How many of the three masters have a replica.
        options: More options of redis-server.
    """

    def __init__(self, folder: Path, *, replicas: int = 0, options: Sequence[str] = ()) -> None:
        common = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(_NEVER_MS), *options]
        self._bus_ports = [free_port() for _ in range(3 + replicas)]
        self.nodes = [
            Node(folder / f"node-{number}", "--cluster-port", str(port), *common)
            for number, port in enumerate(self._bus_ports)
        ]
        self.masters, self.replicas = self.nodes[:3], self.nodes[3:]

    @property
    def urls(self) -> list[str]:
        """The addresses of all nodes."""
        return [node.url for node in self.nodes]

    def store(self, **options: Any) -> dict[str, Any]:
        """Return the entry of a store that is this cluster, for ``DJANGO_SSE["STORE"]``."""
        options = {"hosts": self.urls, "cluster": True, **options}
        return {"BACKEND": "django_sse.stores.redis.RedisStore", "OPTIONS": options}

    def start(self) -> Self:
        """Start the nodes, make them one cluster, and wait until all agree on it."""
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.masters):
            node.call("CLUSTER SET-CONFIG-EPOCH", number + 1)
            first, last = _SLOTS * number // 3, _SLOTS * (number + 1) // 3 - 1
            node.call("CLUSTER ADDSLOTSRANGE", first, last)
        for node in self.nodes:
            for peer, bus_port in zip(self.nodes, self._bus_ports, strict=True):
                if peer is not node:
                    node.call("CLUSTER MEET", "127.0.0.1", peer.port, bus_port)
        until(lambda: all(map(self._has_met_all, self.nodes)))
        for replica, master in zip(self.replicas, self.masters, strict=False):
            replica.call("CLUSTER REPLICATE", master.id)
        until(lambda: all(map(_has_its_master, self.replicas)))
        # A master gives no vote to one that it takes for a master, too.
        until(lambda: all(map(self._knows_replicas, self.nodes)))
        return self

    def _has_met_all(self, node: Node) -> bool:
        known = node.peers().values()
        is_ready = node.call("CLUSTER INFO")["cluster_state"] == "ok"
        return is_ready and len([p for p in known if "handshake" not in p["flags"]]) == len(
            self.nodes
        )

    def _knows_replicas(self, node: Node) -> bool:
        flags = [about["flags"] for about in node.peers().values()]
        return sum("slave" in each for each in flags) == len(self.replicas)

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.kill()

    def owner(self, group: str) -> Node:
        """Return the node that *group* is on, as the running nodes say."""
        for node in self.nodes:
            if node.is_running and "master" in (about := node.peers()[str(node.port)])["flags"]:
                ranges = [list(map(int, part)) for part in about["slots"] if len(part) < 3]
                if any(part[0] <= slot_of(group) <= part[-1] for part in ranges):
                    return node
        raise LookupError(f"No node has the slot of {group!r}.")
