"""The registry: which worker has which streams open, in the project's database."""

from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from django_sse.conf import get_settings

__all__ = ["has_database", "is_shared", "registry_alias", "require_app"]


def registry_alias() -> str | None:
    """
    Return the alias of the database that the registry is in; None where there is no registry.

    That is where it is turned off, or where the project has no database.

    Raises:
        ImproperlyConfigured: If there should be one, and the app is not installed.
    """
    given = get_settings().registry
    if not given:
        return None
    require_app()
    if isinstance(given, str):
        return given
    from django_sse.models import Worker

    alias = router.db_for_write(Worker)
    is_dummy = alias in connections.settings and not has_database(alias)
    return None if is_dummy else alias


def require_app() -> None:
    """Raise ImproperlyConfigured if the app, whose models are asked for, is not installed."""
    if not apps.is_installed("django_sse"):
        raise ImproperlyConfigured(
            "The models of django_sse are needed, and it is not installed: add 'django_sse' to"
            " INSTALLED_APPS."
        )


def has_database(alias: str) -> bool:
    """Tell whether there is a database *alias*: without DATABASES, Django has a dummy instead."""
    config = connections.settings.get(alias)
    return config is not None and config["ENGINE"] != "django.db.backends.dummy"


def is_shared(alias: str) -> bool:
    """Tell whether there is a database *alias* that other processes see, as none in memory is."""
    if not has_database(alias):
        return False
    connection: Any = connections[alias]
    return not (connection.vendor == "sqlite" and connection.is_in_memory_db())
