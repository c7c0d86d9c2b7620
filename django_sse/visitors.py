"""Who has opened a stream, as far as its request tells."""

import dataclasses
import hashlib
import logging
import sys
from typing import Any

from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from django_sse.metrics import metrics

__all__ = [
    "NOBODY",
    "Visitor",
    "identify",
    "session_digest",
    "username_of",
    "view_of",
    "visitor_of",
]

logger = logging.getLogger("django.sse")

# The names that Django's authentication has for them in a session. Its module has models.
_USER_KEY = "_auth_user_id"
_HASH_KEY = "_auth_user_hash"
_BACKEND_KEY = "_auth_user_backend"


@dataclasses.dataclass(frozen=True, slots=True)
class Visitor:
    """
    The user, the session and the address of a request.

    Attributes:
        user_id: The user's primary key as a string; empty if nobody is logged in.
        session: A digest of the session's key; empty if there is no session, or if it is that of
            another user than the request's.
        address: The client's, as the server gives it; empty if it gives none.
        session_key: The key itself, which is to leave the process by no way.
        session_hash: What the session knows of the user's password.
        session_type: The class of the session.
        backend: The path of the authentication backend by which the session knows the user.
        user_type: The class of a user whom no session's hash vouches for; None if unknown.
    """

    user_id: str = ""
    session: str = ""
    address: str = ""
    session_key: str = dataclasses.field(default="", repr=False)
    session_hash: str = dataclasses.field(default="", repr=False)
    session_type: type | None = None
    backend: str = ""
    user_type: type | None = None


NOBODY = Visitor()


def session_digest(key: str) -> str:
    """Return what stands for the session *key* where others can read it."""
    return hashlib.sha256(f"django_sse.session:{key}".encode()).hexdigest()[:40]


async def identify(request: HttpRequest) -> Visitor:
    """
    Return the visitor of *request*, whose session is loaded, by one query, if it has one.

    A session that cannot be loaded is no reason to refuse a stream: a view that needs to know its
    user asks for them itself.
    """
    session: Any = getattr(request, "session", None)
    if getattr(session, "session_key", None) and not _is_loaded(session):
        try:
            await session.aget(_USER_KEY)
        except Exception as error:
            metrics.registry_errors += 1
            name = type(error).__name__
            logger.warning("The session of a stream cannot be loaded: %s: %s", name, error)
    return visitor_of(request)


def visitor_of(request: HttpRequest | None) -> Visitor:
    """Return the visitor of *request*, by what has been loaded of it: nothing is queried."""
    if request is None:
        return NOBODY
    address = request.META.get("REMOTE_ADDR") or ""
    session: Any = getattr(request, "session", None)
    key = getattr(session, "session_key", None) or ""
    loaded = session._session_cache if key and _is_loaded(session) else {}
    in_session = str(loaded.get(_USER_KEY) or "")
    user = _loaded_user(request)
    user_id = in_session if user is None else _text(getattr(user, "pk", None))
    session_hash = ""
    if not key or in_session not in (user_id, _as_in_session(user)):
        # None, or somebody else's: whoever calls with a token may send a cookie as well.
        visitor = Visitor(user_id=user_id, address=address)
    else:
        session_hash = loaded.get(_HASH_KEY) or ""
        visitor = Visitor(
            user_id=user_id,
            session=session_digest(key),
            address=address,
            session_key=key,
            session_hash=session_hash,
            session_type=type(session),
            backend=loaded.get(_BACKEND_KEY) or "",
        )
    if user_id and user is not None and not session_hash:
        visitor = dataclasses.replace(visitor, user_type=type(user))
    return visitor


def _is_loaded(session: Any) -> bool:
    # As SessionBase itself asks, before it loads.
    return hasattr(session, "_session_cache")


def _loaded_user(request: HttpRequest) -> Any:
    """Return the user, anonymous or not, if they have been loaded, or set by a middleware."""
    for name in ("user", "_acached_user", "_cached_user"):
        user = vars(request).get(name)
        if isinstance(user, LazyObject):
            user = None if user._wrapped is empty else user._wrapped
        if user is not None:
            return user
    return None


def _text(pk: Any) -> str:
    return "" if pk is None else str(pk)


def _as_in_session(user: Any) -> str:
    """Return the primary key of *user* as a session has it."""
    field = getattr(getattr(user, "_meta", None), "pk", None)
    return "" if field is None or user.pk is None else str(field.value_to_string(user))


def username_of(request: HttpRequest | None) -> str | None:
    """Return the name of the user of *request*, if they are known without a query."""
    user = _loaded_user(request) if request is not None else None
    get_username = getattr(user, "get_username", None)
    return get_username() or None if get_username is not None else None


def view_of(request: HttpRequest | None) -> str:
    """Return the name of the view that answers *request*, or else the path of its function."""
    match = getattr(request, "resolver_match", None)
    # One string for all the streams of a view.
    return sys.intern(match.view_name or match._func_path) if match is not None else ""
