"""A Redis of the test's own, to be killed, emptied and stopped."""

import os
import signal
from pathlib import Path
from typing import Any, Self

import redis

from tests.servers.processes import Process
from tests.servers.waiting import eventually
from tests.services import free_port, require_program

__all__ = ["RedisServer"]


class RedisServer:
    """A port, and the redis-server that listens there now and then; it keeps what save() has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: Process | None = None

    async def start(self) -> Self:
        """Start it, as it was at the last save() or empty, and wait until it answers."""
        program = require_program("redis-server")
        options = f"--port {self._port} --bind 127.0.0.1 --appendonly no --dir {self._folder}"
        command = [program, *options.split(), "--save", ""]
        process = self._process = Process("redis-server", command, self._folder)
        await eventually(self._answers, within=60, but=lambda: process.output)
        return self

    def _answers(self) -> bool:
        with redis.Redis(port=self._port) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    async def kill(self) -> None:
        """End it at once, with no word to its clients."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.gone()
        self._process.stop()

    def pause(self) -> None:
        """Let it do nothing, its connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def save(self) -> None:
        """Write all keys to disk, for the next start()."""
        with redis.Redis(port=self._port) as client:
            client.save()

    def forget_everything(self) -> None:
        """Delete all keys."""
        with redis.Redis(port=self._port) as client:
            client.flushall()

    def memberships(self) -> list[float]:
        """Return when each member of each group has joined last, with the core layer."""
        with redis.Redis(port=self._port) as client:
            groups: Any = [
                client.zrange(key, 0, -1, withscores=True)
                for key in client.scan_iter("asgi:group:*")
            ]
        return [joined for members in groups for _, joined in members]

    def cut_subscribers(self) -> None:
        """Break the connections that listen to pub/sub, as for those that lag too far behind."""
        with redis.Redis(port=self._port) as client:
            client.client_kill_filter(_type="pubsub")

    def layer_settings(self, kind: str, **config: Any) -> dict[str, Any]:
        """
        Return the settings of a project whose channel layer, core or pubsub, is this Redis.

        *config* is more of the layer's own options.
        """
        name = {"core": "core.RedisChannelLayer", "pubsub": "pubsub.RedisPubSubChannelLayer"}[kind]
        hosts = [f"redis://127.0.0.1:{self._port}/0"]
        layer = {"BACKEND": f"channels_redis.{name}", "CONFIG": {"hosts": hosts, **config}}
        return {"CHANNEL_LAYERS": {"default": layer}}

    def store(self, **options: Any) -> dict[str, Any]:
        """Return the entry of a store that is this Redis, for ``DJANGO_SSE["STORE"]``."""
        options = {"url": f"redis://127.0.0.1:{self._port}/0", **options}
        return {"BACKEND": "django_sse.stores.redis.RedisStore", "OPTIONS": options}

    def stop(self) -> None:
        """End it for good."""
        if self._process is not None:
            if not self._process.has_ended:
                self.resume()
            self._process.stop()
