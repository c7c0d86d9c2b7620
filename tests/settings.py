"""
The settings of the test suite, and of the processes that tests start.

By default they need nothing but this directory: SQLite and the in-memory channel layer. Processes
that tests start choose by environment variables: ``TEST_DATABASE`` (``sqlite``, ``postgresql`` or
``mariadb``), ``TEST_DATABASE_NAME``, ``TEST_LAYER`` (``memory``, ``core`` or ``pubsub``) and
``TEST_LAYER_PREFIX``; tests/services.py has the addresses.
"""

import os
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.services import MARIADB_URL, POSTGRESQL_URL, REDIS_URL

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
ASGI_APPLICATION = "tests.asgi.application"
INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "channels",
    "django_sse",
    "tests",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
LOGIN_URL = "/login/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


#: A commit need not be on the disk, and who waits for another's may wait long.
SQLITE_OPTIONS = {"timeout": 60, "init_command": "PRAGMA synchronous=OFF"}
POSTGRESQL_OPTIONS = {"options": "-c synchronous_commit=off"}


def database(kind: str, name: str) -> dict[str, object]:
    """Return the entry of DATABASES for *kind*; *name* may be empty."""
    if kind == "sqlite":
        # A file: in memory, threads would share one connection, which no server does. One for
        # each process, so that two test runs do not meet.
        path = name or str(Path(tempfile.gettempdir(), f"django_sse-{os.getpid()}.sqlite3"))
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path,
            "OPTIONS": {**SQLITE_OPTIONS, "transaction_mode": "IMMEDIATE"},
            "TEST": {"NAME": path},
        }
    if kind == "mariadb":
        import pymysql  # Not above: only those who test with it need have it.

        pymysql.install_as_MySQLdb()
    url = urlsplit({"mariadb": MARIADB_URL, "postgresql": POSTGRESQL_URL}[kind])
    engine = {"mariadb": "mysql"}.get(kind, kind)
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": name or url.path.lstrip("/"),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname or "",
        "PORT": str(url.port or ""),
        "OPTIONS": POSTGRESQL_OPTIONS if kind == "postgresql" else {},
    }


def channel_layer(kind: str, prefix: str = "django_sse") -> dict[str, object]:
    """Return the entry of CHANNEL_LAYERS for *kind*."""
    if kind == "memory":
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    name = {"core": "core.RedisChannelLayer", "pubsub": "pubsub.RedisPubSubChannelLayer"}[kind]
    return {
        "BACKEND": f"channels_redis.{name}",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": prefix},
    }


DATABASES = {
    "default": database(
        os.environ.get("TEST_DATABASE", "sqlite"), os.environ.get("TEST_DATABASE_NAME", "")
    )
}
CHANNEL_LAYERS = {
    "default": channel_layer(
        os.environ.get("TEST_LAYER", "memory"), os.environ.get("TEST_LAYER_PREFIX", "django_sse")
    )
}
