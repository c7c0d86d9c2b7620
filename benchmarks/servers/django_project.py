"""What the Django sites share: a project as startproject makes it, and a user's session."""

from pathlib import Path
from typing import Any

import django
from django.conf import settings

__all__ = ["configure", "sign_in"]

_USER = "reader"


def configure(database: Path | dict[str, Any], urls: str, *apps: str, **more: Any) -> None:
    """
    Set up Django with startproject's middleware, and migrate the *database*.

    That is the path of an SQLite file, or an entry of ``DATABASES``.
    """
    if isinstance(database, Path):
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": database}
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": database},
        DEBUG=False,
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            *apps,
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        ROOT_URLCONF=urls,
        SECRET_KEY="only for benchmarks",
        USE_TZ=True,
        **more,
    )
    django.setup()

    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)


def sign_in() -> dict[str, str]:
    """Return the headers of a client with a logged-in session."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    user, _ = get_user_model().objects.get_or_create(username=_USER)
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user)
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
