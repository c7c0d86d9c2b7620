"""The app, as INSTALLED_APPS names it."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

__all__ = ["DjangoSSEConfig"]


class DjangoSSEConfig(AppConfig):
    """Server-sent events."""

    name = "django_sse"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Server-sent events"

    def ready(self) -> None:
        """Register the checks, the receivers, and what each app's ``sse.py`` registers."""
        from django_sse import checks, revocation  # noqa: F401 - Django's place for it

        revocation.listen()
        autodiscover_modules("sse")
