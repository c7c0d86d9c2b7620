"""
What the benchmarks need from the machine: Redis, and PostgreSQL.

The addresses may be given by the environment variables ``BENCH_REDIS_URL`` and
``BENCH_POSTGRESQL_URL``. What a run writes there has names of its own, and is taken away again.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = [
    "forget_redis_keys",
    "postgresql_database",
    "postgresql_problem",
    "redis_address",
    "redis_layer",
    "redis_problem",
    "sqlite_database",
    "temporary_postgresql",
]

_REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/9")
_POSTGRESQL_URL = os.environ.get(
    "BENCH_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/postgres"
)

_LAYERS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}


def redis_layer(kind: str, directory: Path, name: str, **config: Any) -> dict[str, Any]:
    """Return the entry of CHANNEL_LAYERS: keys begin with *directory*'s name and *name*."""
    config |= {"hosts": [_REDIS_URL], "prefix": f"{directory.name}:{name}:"}
    return {"BACKEND": _LAYERS[kind], "CONFIG": config}


def redis_address() -> dict[str, Any]:
    """Return the arguments of ``redis.Redis`` for where it is."""
    url = urlsplit(_REDIS_URL)
    found = {"host": url.hostname, "port": url.port or 6379, "db": int(url.path.strip("/") or 0)}
    return found | ({"password": unquote(url.password)} if url.password else {})


def forget_redis_keys(directory: Path, *, containing: str = "") -> None:
    """Delete the keys of the run in *directory*, or those of them that contain a text."""
    with _redis() as client:
        for key in client.scan_iter(f"{directory.name}:*{containing}*", count=1000):
            client.unlink(key)


def redis_problem() -> str | None:
    """Return why there is no Redis; None if there is."""
    return _problem(_redis)


def postgresql_problem() -> str | None:
    """Return why there is no PostgreSQL; None if there is."""
    return _problem(_postgresql)


@contextlib.contextmanager
def temporary_postgresql(directory: Path) -> Iterator[dict[str, Any]]:
    """Make a database named after *directory*; yield its entry of DATABASES; take it away."""
    name = directory.name
    with _postgresql() as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield postgresql_database(directory)
    finally:
        with _postgresql() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def postgresql_database(directory: Path, kind: str = "postgresql") -> dict[str, Any]:
    """
    Return the entry of DATABASES for what temporary_postgresql() makes.

    The *kind* may be ``postgresql-prepared``.
    """
    url = urlsplit(_POSTGRESQL_URL)
    options = {"server_side_binding": True, "prepare_threshold": 5}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": directory.name,
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname or "",
        "PORT": str(url.port or ""),
        "OPTIONS": options if kind == "postgresql-prepared" else {},
    }


def sqlite_database(path: Path, kind: str) -> dict[str, Any]:
    """Return the entry of DATABASES for the file *path*; *kind* may be ``sqlite-wal``."""
    options = {
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": options if kind == "sqlite-wal" else {},
    }


def _problem(connect: Any) -> str | None:
    try:
        with connect():
            return None
    except Exception as error:  # Not installed, not running, not allowed: all the same here.
        return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _redis() -> Iterator[Any]:
    import redis

    client = redis.Redis.from_url(_REDIS_URL, socket_connect_timeout=2)
    try:
        client.ping()
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def _postgresql() -> Iterator[Any]:
    import psycopg

    with psycopg.connect(_POSTGRESQL_URL, autocommit=True, connect_timeout=2) as connection:
        yield connection
