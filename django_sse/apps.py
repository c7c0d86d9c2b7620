"""The app, as INSTALLED_APPS names it."""

from django.apps import AppConfig

__all__ = ["DjangoSSEConfig"]


class DjangoSSEConfig(AppConfig):
    """Server-sent events."""

    name = "django_sse"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Server-sent events"

    def ready(self) -> None:
        """Register the checks."""
        from django_sse import checks  # noqa: F401 - Django's place for it
