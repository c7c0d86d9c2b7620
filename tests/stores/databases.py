"""Databases for the tests of stores: real commits, on connections of any thread and process."""

import atexit
import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.migrations.executor import MigrationExecutor

from django_sse.stores.base import BaseStore
from tests.services import require_mariadb, require_postgresql
from tests.settings import SQLITE_OPTIONS, database

__all__ = ["alias_of", "environment", "make_store", "name_of", "use_database"]

_REQUIRE: dict[str, Callable[[], str]] = {
    "mariadb": require_mariadb,
    "postgresql": require_postgresql,
}


def make_store(kind: str, request: pytest.FixtureRequest, **options: Any) -> BaseStore:
    """
    Return a store with empty tables in a database of its own, for the test of *request*.

    Args:
        kind: ``database-sqlite``, ``database-postgresql`` or ``database-mariadb``.
        request: That of the fixture which asks; when it ends, the database is left alone.
        options: More arguments of the store.
    """
    from django_sse.stores.database import DatabaseStore

    return DatabaseStore(alias=use_database(kind.removeprefix("database-"), request), **options)


def use_database(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the alias of a database of *kind*, which the test may use, with empty tables."""
    alias = alias_of(kind)
    blocker = request.getfixturevalue("django_db_blocker")
    blocker.unblock()
    request.addfinalizer(blocker.restore)
    if alias not in connections.settings:
        _create(kind, alias)
    _empty(alias)
    _close_at_end(alias, request)
    return alias


def _close_at_end(alias: str, request: pytest.FixtureRequest) -> None:
    """Close all connections at the test's end: many of its threads do not end with it."""
    opened = [connections[alias]]

    def note(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        if connection.alias == alias:
            opened.append(connection)

    def close() -> None:
        connection_created.disconnect(note)
        for connection in opened:
            connection.inc_thread_sharing()
            connection.close()
            connection.dec_thread_sharing()

    connection_created.connect(note, weak=False)
    request.addfinalizer(close)


def alias_of(kind: str) -> str:
    """Return the alias of the database of *kind*."""
    return f"store_{kind}"


def name_of(kind: str) -> str:
    """Return the database's name on its server; that of SQLite is a path."""
    name = f"django_sse_stores_{os.getpid()}"
    return str(Path(tempfile.gettempdir(), f"{name}.sqlite3")) if kind == "sqlite" else name


def environment(kind: str) -> dict[str, str]:
    """Return the environment of a process that has this database as its default one."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_DATABASE": kind,
        "TEST_DATABASE_NAME": name_of(kind),
    }


def _create(kind: str, alias: str) -> None:
    if kind in _REQUIRE:
        _REQUIRE[kind]()
    _drop(kind)
    if kind != "sqlite":
        _run_on_server(kind, f"CREATE DATABASE {name_of(kind)}")
    # What is missing is what Django has filled in for the default database.
    config = connections.settings["default"] | {"OPTIONS": {}} | database(kind, name_of(kind))
    if kind == "sqlite":
        # As Django does it by itself: a transaction takes no lock until it must.
        config["OPTIONS"] = dict(SQLITE_OPTIONS)
    connections.settings[alias] = config
    atexit.register(_remove, kind, os.getpid())
    executor = MigrationExecutor(connections[alias])
    executor.migrate(executor.loader.graph.leaf_nodes("django_sse"))


def _empty(alias: str) -> None:
    connection = connections[alias]
    tables = [table for table in connection.introspection.table_names() if "django_sse" in table]
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")


def _remove(kind: str, pid: int) -> None:
    if pid == os.getpid():  # A forked child leaves it to its parent.
        connections[alias_of(kind)].close()
        _drop(kind)


def _drop(kind: str) -> None:
    if kind == "sqlite":
        for ending in ("", "-journal", "-wal", "-shm"):
            Path(name_of(kind) + ending).unlink(missing_ok=True)
    else:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        _run_on_server(kind, f"DROP DATABASE IF EXISTS {name_of(kind)}{force}")


def _run_on_server(kind: str, statement: str) -> None:
    """Run *statement* on a connection to another database, in no transaction."""
    connection: Any
    config: dict[str, Any] = database(kind, "")
    where: dict[str, Any] = {
        "host": config["HOST"],
        "port": int(str(config["PORT"])),
        "user": config["USER"],
    }
    if kind == "postgresql":
        import psycopg

        connection = psycopg.connect(_REQUIRE[kind](), autocommit=True)
    else:
        import pymysql

        connection = pymysql.connect(**where, password=config["PASSWORD"])
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(statement)
