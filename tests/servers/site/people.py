"""``python -m tests.servers.site.people 150`` makes users and prints their session cookies."""

import json
import sys

import django
from django.conf import settings
from django.core.management import call_command


def log_in(count: int) -> list[str]:
    """Return the session cookies of *count* new users; the tables are made too."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    call_command("migrate", verbosity=0)
    names = (f"user-{number}" for number in range(count))
    cookies = []
    for user in User.objects.bulk_create(User(username=name, password="!") for name in names):
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
    return cookies


if __name__ == "__main__":
    django.setup()
    json.dump(log_in(int(sys.argv[1])), sys.stdout)
