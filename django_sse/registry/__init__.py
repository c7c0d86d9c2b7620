"""The registry: which worker has which streams open, in the project's database."""

from django.db import router

from django_sse.conf import get_settings

__all__ = ["registry_alias"]


def registry_alias() -> str | None:
    """Return the alias of the database that the registry is in; None where it is turned off."""
    given = get_settings().registry
    if isinstance(given, str):
        return given
    if not given:
        return None
    from django_sse.models import Worker

    return router.db_for_write(Worker)
