"""Ending the streams of users who log out, or may not log in any more."""

import contextlib
import functools
import logging
from collections.abc import Collection, Iterator
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_save

from django_sse.control import end_streams_soon
from django_sse.metrics import metrics
from django_sse.orders import Order
from django_sse.reasons import CloseReason
from django_sse.rights import may_log_in

__all__ = ["listen"]

logger = logging.getLogger("django.sse")

_COLUMNS = ("password", "is_active")
# Where the receiver before a save leaves word for the one after it, on the instance.
_LOSES = "_django_sse_loses_rights"


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
        pre_save.connect(_before_save, sender=model, dispatch_uid="django_sse")
        post_save.connect(_on_save, sender=model, dispatch_uid="django_sse")
        post_delete.connect(_on_delete, sender=model, dispatch_uid="django_sse")


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    """Log and count what fails inside: whoever logs out, or saves a user, does so all the same."""
    try:
        yield
    except Exception:
        metrics.registry_errors += 1
        logger.exception("The streams of a user who may not read them any more were not ended.")


def _on_logout(*, request: Any, user: Any, **kwargs: Any) -> None:
    # The session is there until the receivers have run. It goes whatever becomes of a transaction.
    with _harmless():
        session = getattr(request, "session", None)
        if user is not None and getattr(session, "session_key", None):
            end_streams_soon(Order.of(session=session, reason=CloseReason.LOGGED_OUT))


def _before_save(
    *,
    instance: Any,
    raw: bool,
    using: str,
    update_fields: Collection[str] | None,
    **kwargs: Any,
) -> None:
    instance.__dict__.pop(_LOSES, None)
    if raw or instance._state.adding:
        return
    with _harmless():
        if _loses_rights(instance, using, update_fields):
            instance.__dict__[_LOSES] = True


def _loses_rights(instance: Any, using: str, update_fields: Collection[str] | None) -> bool:
    def is_written(name: str) -> bool:
        return update_fields is None or name in update_fields

    # By set_password(); it is forgotten after the save.
    if is_written("password") and getattr(instance, "_password", None) is not None:
        return True
    becomes_inactive = is_written("is_active") and not may_log_in(instance)
    may_be_changed = update_fields is not None and "password" in update_fields
    if not becomes_inactive and not may_be_changed:
        return False
    # Many such saves change neither. This one query, of the row that is to be written, tells.
    return _differs(instance, using, [name for name in _COLUMNS if is_written(name)])


def _differs(instance: Any, using: str, names: list[str]) -> bool:
    if transaction.get_connection(using).needs_rollback:
        return False  # The save itself fails.
    model = type(instance)
    fields = {field.attname for field in model._meta.concrete_fields}
    if not fields.issuperset(names):
        return True  # is_active is computed of others, say.
    before = model._base_manager.using(using).filter(pk=instance.pk).values_list(*names).first()
    return before is not None and before != tuple(getattr(instance, name) for name in names)


def _on_save(*, instance: Any, created: bool, using: str, **kwargs: Any) -> None:
    if instance.__dict__.pop(_LOSES, False) and not created:
        _end_after_commit(using, instance)


def _on_delete(*, instance: Any, using: str, **kwargs: Any) -> None:
    _end_after_commit(using, instance)


def _end_after_commit(using: str, user: Any) -> None:
    with _harmless():
        # Now: an instance that has been deleted has no primary key by then.
        order = Order.of(user=user, reason=CloseReason.LOGGED_OUT)
        transaction.on_commit(functools.partial(_end, order), using=using)


def _end(order: Order) -> None:
    with _harmless():
        end_streams_soon(order)
