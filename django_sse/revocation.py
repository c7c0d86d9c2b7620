"""Ending the streams of users who log out, or may not log in any more."""

import functools
import logging
from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from django_sse.control import end_streams
from django_sse.orders import Order
from django_sse.reasons import CloseReason
from django_sse.rights import may_log_in

__all__ = ["listen"]

logger = logging.getLogger("django.sse")


def listen() -> None:
    """Connect to the signals, where the project has Django's authentication."""
    if not apps.is_installed("django.contrib.auth"):
        return
    from django.contrib.auth import get_user_model
    from django.contrib.auth.signals import user_logged_out

    user_logged_out.connect(_on_logout, dispatch_uid="django_sse")
    users = get_user_model()
    # Proxies and children too, which send signals of their own. Not of all models: Django deletes
    # many rows by one statement only where nobody listens.
    for model in [model for model in apps.get_models() if issubclass(model, users)]:
        post_save.connect(_on_save, sender=model, dispatch_uid="django_sse")
        post_delete.connect(_on_delete, sender=model, dispatch_uid="django_sse")


def _on_logout(*, request: Any, user: Any, **kwargs: Any) -> None:
    # The session is there until the receivers have run.
    session = getattr(request, "session", None)
    if user is not None and session is not None and session.session_key:
        _end_after_commit(None, session=session)


def _on_save(
    *,
    instance: Any,
    created: bool,
    raw: bool,
    using: str,
    update_fields: Collection[str] | None,
    **kwargs: Any,
) -> None:
    if created or raw:
        return
    if update_fields is None:
        # By set_password(); it is forgotten after this signal.
        has_new_password = getattr(instance, "_password", None) is not None
    else:
        has_new_password = "password" in update_fields
    if has_new_password or not may_log_in(instance):
        _end_after_commit(using, user=instance)


def _on_delete(*, instance: Any, using: str, **kwargs: Any) -> None:
    _end_after_commit(using, user=instance)


def _end_after_commit(using: str | None, **whose: Any) -> None:
    # Now: an instance that has been deleted has no primary key by then.
    order = Order.of(**whose, reason=CloseReason.LOGGED_OUT)
    transaction.on_commit(functools.partial(_end, order), using=using)


def _end(order: Order) -> None:
    try:
        end_streams(order)
    except Exception:  # Whoever has logged out has done so all the same.
        logger.exception("The streams of a user who has logged out were not ended.")
