"""
What the tests need from the machine: services, programs, and network namespaces.

A test that needs one calls its ``require_…()``. Where it is missing the test is skipped; where
``CI`` is set it fails, for a suite that skips what it should run has not passed.

The addresses may be given by environment variables: ``TEST_REDIS_URL``, ``TEST_POSTGRESQL_URL``,
``TEST_MARIADB_URL``, ``TEST_NODE`` and ``TEST_CHROMIUM`` (paths of the programs).
"""

import contextlib
import functools
import os
import secrets
import shutil
import socket
import subprocess
from typing import NoReturn
from urllib.parse import unquote, urlsplit

__all__ = [
    "MARIADB_URL",
    "POSTGRESQL_URL",
    "REDIS_URL",
    "free_port",
    "require_chromium",
    "require_mariadb",
    "require_namespaces",
    "require_node",
    "require_postgresql",
    "require_program",
    "require_redis",
]

#: A database of its own, so that nothing else on the server is touched.
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
#: Django makes its own test database beside the one named here.
POSTGRESQL_URL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/test")
#: The tests make databases of their own there, and take them away again.
MARIADB_URL = os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test")

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def require_redis() -> str:
    """Return the URL of a Redis that answers."""
    if problem := _redis_problem():
        _missing(f"Redis at {REDIS_URL}", problem)
    return REDIS_URL


def require_postgresql() -> str:
    """Return the URL of a PostgreSQL that answers."""
    if problem := _postgresql_problem():
        _missing(f"PostgreSQL at {POSTGRESQL_URL}", problem)
    return POSTGRESQL_URL


def require_mariadb() -> str:
    """Return the URL of a MariaDB, or a MySQL, that answers."""
    if problem := _mariadb_problem():
        _missing(f"MariaDB at {MARIADB_URL}", problem)
    return MARIADB_URL


def require_node() -> str:
    """Return the path of Node.js."""
    return require_program(os.environ.get("TEST_NODE", "node"))


def require_chromium() -> str:
    """Return the path of Chromium, or of a browser of its kind."""
    given = os.environ.get("TEST_CHROMIUM")
    return require_program(*((given,) if given else _CHROMIUM_NAMES))


def require_namespaces() -> str:
    """Return the path of ``ip``, of iproute2, where it can make network namespaces."""
    program = require_program("ip")
    if problem := _namespaces_problem():
        _missing("A network namespace", problem)
    return program


def require_program(*names: str) -> str:
    """Return the path of the first of the programs *names* that there is."""
    for name in names:
        if path := shutil.which(name):
            return path
    _missing(" or ".join(names), "it is not on PATH")


def free_port() -> int:
    """
    Return a TCP port of 127.0.0.1 that nothing listens on.

    It is none of those that systems give to connections, from 32768 on: another's connection, or
    one's own to the server that is away for a moment, would take it.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port


def _missing(what: str, problem: str) -> NoReturn:
    import pytest  # Not above: the settings are read by processes that are no tests.

    text = f"{what} is needed: {problem}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


@functools.cache
def _redis_problem() -> str | None:
    url = urlsplit(REDIS_URL)
    try:
        with socket.create_connection((url.hostname, url.port or 6379), timeout=10) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except OSError as error:
        return str(error)
    # One that asks for a password speaks the protocol too; the layer is given the same URL.
    return None if answer.startswith((b"+PONG", b"-NOAUTH")) else f"it answers {answer!r}"


@functools.cache
def _namespaces_problem() -> str | None:
    name = f"sse-{secrets.token_hex(3)}"
    # With a link: a namespace alone may be allowed where that is not.
    for command in (f"netns add {name}", f"-n {name} link add end-0 type veth peer end-1"):
        made = subprocess.run(
            ["ip", *command.split()], capture_output=True, text=True, check=False
        )
        if made.returncode:
            break
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.stderr.strip() or "ip fails" if made.returncode else None


@functools.cache
def _postgresql_problem() -> str | None:
    try:
        import psycopg
    except ImportError as error:
        return str(error)
    try:
        psycopg.connect(POSTGRESQL_URL, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        return str(error)
    return None


@functools.cache
def _mariadb_problem() -> str | None:
    try:
        import pymysql
    except ImportError as error:
        return str(error)
    url = urlsplit(MARIADB_URL)
    try:
        pymysql.connect(
            host=url.hostname,
            port=url.port or 3306,
            user=unquote(url.username or ""),
            password=unquote(url.password or ""),
            connect_timeout=10,
        ).close()
    except pymysql.err.OperationalError as error:
        return str(error)
    return None
