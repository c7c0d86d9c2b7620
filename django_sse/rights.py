"""Whether the users of open streams may still be who they were when those began."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.apps import apps
from django.db import router
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from django_sse.conf import get_authentication_backends
from django_sse.registry import is_shared
from django_sse.visitors import Visitor

__all__ = ["UNSEEN", "Standing", "Tell", "look", "may_log_in"]

_FIELDS = ("password", "is_active")
# SQLite takes 32,766 parameters.
_IDS_AT_ONCE = 10_000

#: Called with what cannot be looked at, and why.
Tell = Callable[[str, Exception], None]


class Standing(NamedTuple):
    """
    What was seen good of a visitor, and can be lost from then on.

    Attributes:
        has_session: Whether the session was there.
        columns: The password's hash and whether the user is active, as they were when the user's
            row was found to be that of the session and one that may log in; None if it never was.
    """

    has_session: bool
    columns: tuple[Any, ...] | None


UNSEEN = Standing(has_session=False, columns=None)


def look(
    visitors: Mapping[Visitor, Standing], tell: Tell
) -> tuple[set[Visitor], dict[Visitor, Standing]]:
    """
    Look at all these visitors at once, by three queries however many they are.

    What was not seen good is not missed: users may come from elsewhere, or their rows may be in a
    schema, a transaction or a replica that is not to be seen from here. What was, and seems lost,
    is asked of Django itself once more, as it would ask at the user's next request.

    Args:
        visitors: Who they are, with how they stood the last time.
        tell: Is called for what fails of one visitor, which does not concern the others.

    Returns:
        Those who have lost what they had, and how the others stand now.

    Raises:
        django.db.Error: If the table of users cannot be read.
    """
    if not apps.is_installed("django.contrib.auth"):
        return set(), dict(visitors)
    with_session = _with_session(visitors, tell)
    columns = _columns_now(visitors, tell)
    refused: set[Visitor] = set()
    for visitor, standing in visitors.items():
        has_lost_session = standing.has_session and visitor not in with_session
        has_lost_user = standing.columns is not None and columns.get(visitor) is None
        if (has_lost_session and _confirmed(_is_session_gone, visitor, tell)) or (
            has_lost_user and _confirmed(_is_refused, visitor, tell)
        ):
            refused.add(visitor)
    return refused, {
        visitor: Standing(
            standing.has_session or visitor in with_session,
            columns.get(visitor) or standing.columns,
        )
        for visitor, standing in visitors.items()
        if visitor not in refused
    }


def may_log_in(user: Any, backend: str = "") -> bool:
    """Tell whether *user* is active, or the *backend* (any of them) lets those in who are not."""
    from django.contrib.auth import get_backends, load_backend

    if getattr(user, "is_active", True):
        return True
    return any(
        asked.user_can_authenticate(user)
        for asked in ([load_backend(backend)] if backend else get_backends())
        if hasattr(asked, "user_can_authenticate")
    )


def _confirmed(is_lost: Callable[[Visitor], bool], visitor: Visitor, tell: Tell) -> bool:
    try:
        return is_lost(visitor)
    except Exception as error:
        tell("what a user seems to have lost", error)
        return False


def _is_session_gone(visitor: Visitor) -> bool:
    session: Any = visitor.session_type
    asked = session(visitor.session_key)
    asked.load()
    return bool(asked.session_key != visitor.session_key)


def _is_refused(visitor: Visitor) -> bool:
    """Ask as django.contrib.auth.get_user() does."""
    from django.contrib.auth import load_backend

    if visitor.backend not in get_authentication_backends():
        return True  # Known by a token, say: the row was all that there is to be seen.
    key = _user_model()._meta.pk.to_python(visitor.user_id)
    user = load_backend(visitor.backend).get_user(key)
    if user is None:
        return True
    return hasattr(user, "get_session_auth_hash") and not _has_hash(visitor, user)


def _has_hash(visitor: Visitor, user: Any) -> bool:
    return any(constant_time_compare(visitor.session_hash, own) for own in _hashes(user))


def _hashes(user: Any) -> Iterator[str]:
    yield user.get_session_auth_hash()
    if hasattr(user, "get_session_auth_fallback_hash"):
        yield from user.get_session_auth_fallback_hash()


def _with_session(visitors: Mapping[Visitor, Standing], tell: Tell) -> set[Visitor]:
    """Return those whose session is in the database, and those who cannot be looked at."""
    by_type: dict[Any, list[Visitor]] = {}
    for visitor in visitors:
        if hasattr(visitor.session_type, "get_model_class"):
            by_type.setdefault(visitor.session_type, []).append(visitor)
    found: set[Visitor] = set()
    for kind, held in by_type.items():
        try:
            there = _session_keys(kind.get_model_class(), {one.session_key for one in held})
        except Exception as error:
            tell(f"sessions of {kind.__module__}", error)
            found.update(one for one in held if visitors[one].has_session)
        else:
            found.update(one for one in held if one.session_key in there)
    return found


def _session_keys(model: Any, keys: set[str]) -> set[str]:
    alias = router.db_for_write(model)
    if not is_shared(alias):
        return set()
    sessions = model.objects.using(alias).filter(expire_date__gt=timezone.now())
    return {
        key
        for piece in _pieces(keys)
        for key in sessions.filter(session_key__in=piece).values_list("session_key", flat=True)
    }


def _columns_now(
    visitors: Mapping[Visitor, Standing], tell: Tell
) -> dict[Visitor, tuple[Any, ...] | None]:
    """Return, by visitor, what the row of a user has who may log in as things are."""
    model = _user_model()
    alias, names = router.db_for_write(model), _column_names(model)
    looked_at = [visitor for visitor in visitors if _is_of_table(visitor, model)]
    if not looked_at or not is_shared(alias):
        return {}
    users = model._default_manager.using(alias)
    known = [visitor for visitor in looked_at if visitors[visitor].columns is not None]
    rows: dict[str, tuple[Any, ...]] = {
        str(pk): tuple(values)
        for ids in _keys(known)
        for pk, *values in users.filter(pk__in=ids).values_list("pk", *names)
    }
    seen = {one: visitors[one].columns for one in known}
    changed = [one for one in looked_at if one not in seen or rows.get(one.user_id) != seen[one]]
    loaded = {str(user.pk): user for ids in _keys(changed) for user in users.filter(pk__in=ids)}
    for visitor in changed:
        user = loaded.get(visitor.user_id)
        try:
            is_good = user is not None and _is_good(visitor, user)
        except Exception as error:
            tell("a user", error)
        else:
            seen[visitor] = tuple(getattr(user, name) for name in names) if is_good else None
    return seen


def _is_of_table(visitor: Visitor, model: Any) -> bool:
    # With a hash it will be seen whether the row is the user's; else the class must do.
    return bool(visitor.session_hash) or (
        visitor.user_type is not None and issubclass(visitor.user_type, model)
    )


def _is_good(visitor: Visitor, user: Any) -> bool:
    if visitor.session_hash and not _has_hash(visitor, user):
        return False
    return may_log_in(
        user, visitor.backend if visitor.backend in get_authentication_backends() else ""
    )


def _column_names(model: Any) -> list[str]:
    known = {field.attname for field in model._meta.concrete_fields}
    return [name for name in _FIELDS if name in known]


def _user_model() -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model()


def _keys(visitors: Iterable[Visitor]) -> Iterable[list[Any]]:
    """Yield the users' primary keys, some at a time; what cannot be one is left out."""
    field, keys = _user_model()._meta.pk, []
    for user_id in {visitor.user_id for visitor in visitors}:
        try:
            keys.append(field.to_python(user_id))
        except Exception:  # A ValidationError, or what a field of the project raises.
            continue
    return _pieces(keys)


def _pieces(items: Collection[Any]) -> Iterable[list[Any]]:
    held = list(items)
    for start in range(0, len(held), _IDS_AT_ONCE):
        yield held[start : start + _IDS_AT_ONCE]
