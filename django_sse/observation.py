"""Letting others know of what a hub has open."""

from django_sse.hub import Hub
from django_sse.registry import require_app

__all__ = ["observe"]


def observe(hub: Hub) -> None:
    """See to it that what *hub* has open is known to others."""
    if hub.observer is None:
        require_app()
        # Not before: the registry has models, which an import of the package must not load.
        from django_sse.registrar import Registrar

        Registrar.of(hub)
