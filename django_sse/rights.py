"""Whether the users of open streams may still be who they were when those began."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.apps import apps
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from django_sse.visitors import Visitor

__all__ = ["Standing", "look", "may_log_in"]

#: What was seen of a user: the password's hash, and whether the user is active. None is seen of
#: one who is not in the project's table of users.
Standing = tuple[Any, ...] | None

_FIELDS = ("password", "is_active")
# SQLite takes 32,766 parameters.
_IDS_AT_ONCE = 10_000


def look(
    new: Collection[Visitor], known: Mapping[Visitor, Standing]
) -> tuple[set[Visitor], dict[Visitor, Standing]]:
    """
    Look at all these visitors at once, by three queries however many they are.

    Args:
        new: Those that were not looked at before: they may have lost their rights as their
            streams began.
        known: The others, with how they stood the last time.

    Returns:
        Those who have logged out, or have been, and how the new ones of the others stand. A
        session that is not in the database is not looked at.
    """
    if not apps.is_installed("django.contrib.auth"):
        return set(), dict.fromkeys(new)
    refused = _without_session([*new, *known])
    seen = _standings(visitor.user_id for visitor in known) if known else {}
    changed = [
        visitor
        for visitor, standing in known.items()
        if standing is not None and seen.get(visitor.user_id) != standing
    ]
    users = _users(visitor.user_id for visitor in [*new, *changed])
    for visitor in (*new, *changed):
        user = users.get(visitor.user_id)
        # Who was never in the table is of another source, and known to that alone.
        if visitor in known if user is None else not _is_still(visitor, user):
            refused.add(visitor)
    stand = {visitor: _standing(users.get(visitor.user_id)) for visitor in (*new, *changed)}
    return refused, {visitor: stand[visitor] for visitor in stand if visitor not in refused}


def may_log_in(user: Any) -> bool:
    """Tell whether *user* is active, or a backend lets those in who are not."""
    from django.contrib.auth import get_backends

    return getattr(user, "is_active", True) or any(
        backend.user_can_authenticate(user)
        for backend in get_backends()
        if hasattr(backend, "user_can_authenticate")
    )


def _is_still(visitor: Visitor, user: Any) -> bool:
    if not may_log_in(user):
        return False
    if not visitor.session_hash:
        return True  # Another way than Django's sessions.
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(visitor.session_hash, own) for own in hashes)


def _without_session(visitors: Iterable[Visitor]) -> set[Visitor]:
    """Return those of *visitors* whose session is kept in the database, and is there no more."""
    by_type: dict[Any, list[Visitor]] = {}
    for visitor in visitors:
        if hasattr(visitor.session_type, "get_model_class"):
            by_type.setdefault(visitor.session_type, []).append(visitor)
    gone: set[Visitor] = set()
    for kind, held in by_type.items():
        sessions = kind.get_model_class()._default_manager.filter(expire_date__gt=timezone.now())
        there: set[str] = set()
        for keys in _pieces({visitor.session_key for visitor in held}):
            found = sessions.filter(session_key__in=keys)
            there.update(found.values_list("session_key", flat=True))
        gone.update(visitor for visitor in held if visitor.session_key not in there)
    return gone


def _users(user_ids: Iterable[str]) -> dict[str, Any]:
    manager = _user_model()._default_manager
    return {str(user.pk): user for ids in _keys(user_ids) for user in manager.filter(pk__in=ids)}


def _standings(user_ids: Iterable[str]) -> dict[str, Standing]:
    users = _user_model()._default_manager
    return {
        str(pk): tuple(values)
        for ids in _keys(user_ids)
        for pk, *values in users.filter(pk__in=ids).values_list("pk", *_columns())
    }


def _standing(user: Any) -> Standing:
    return None if user is None else tuple(getattr(user, name) for name in _columns())


def _columns() -> list[str]:
    known = {field.attname for field in _user_model()._meta.concrete_fields}
    return [name for name in _FIELDS if name in known]


def _user_model() -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model()


def _keys(user_ids: Iterable[str]) -> Iterable[list[Any]]:
    """Yield the primary keys, some at a time; what cannot be one is left out."""
    field, keys = _user_model()._meta.pk, []
    for user_id in set(user_ids):
        try:
            keys.append(field.to_python(user_id))
        except Exception:  # A ValidationError, or what a field of the project raises.
            continue
    return _pieces(keys)


def _pieces(items: Collection[Any]) -> Iterable[list[Any]]:
    held = list(items)
    for start in range(0, len(held), _IDS_AT_ONCE):
        yield held[start : start + _IDS_AT_ONCE]
