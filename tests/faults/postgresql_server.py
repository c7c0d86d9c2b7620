"""A PostgreSQL of the test's own, to be restarted."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.services import free_port, require_program

__all__ = ["PostgresqlServer"]


class PostgresqlServer:
    """A port, and the server that listens there now and then; its data outlive a restart."""

    def __init__(self) -> None:
        # Where all may go: it does not run as root, and pytest's own folders are for one user.
        self._folder = Path(tempfile.mkdtemp(prefix="django_sse-postgresql-"))
        self.port = free_port()
        self._count = 0

    def create(self) -> Self:
        """Make a database cluster, and start it."""
        # On Debian initdb is not on PATH, but beside its server.
        folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        self._bin = Path(require_program("initdb", *(f"{f}/initdb" for f in folders))).resolve()
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._call("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        return self.start()

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -k {self._folder} -c fsync=off -c listen_addresses=127.0.0.1"
        self._call("pg_ctl", "-w", "-l", f"{self._folder}/log.txt", "-o", options, "start")
        return self

    def stop(self, *, mode: str = "fast") -> None:
        """End it, and all connections: in good order, or (*immediate*) as a crash does."""
        self._call("pg_ctl", "-w", "-m", mode, "stop")

    def _call(self, program: str, *arguments: str) -> None:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        command = [str(self._bin.with_name(program)), "-D", f"{self._folder}/data", *arguments]
        if os.geteuid() == 0:
            command = as_user + command
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, cwd="/"
        )
        assert done.returncode == 0, f"{program}: {done.stdout.decode()}"

    def new_database(self) -> dict[str, Any]:
        """Return the settings of a project that keeps its data and its histories there."""
        self._count += 1
        name = f"project_{self._count}"
        address = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        entry = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "postgres",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }
        return {"default": entry}

    def remove(self) -> None:
        """End it for good."""
        if (self._folder / "data" / "postmaster.pid").exists():
            self.stop(mode="immediate")
        shutil.rmtree(self._folder, ignore_errors=True)
