"""Who has opened a stream, as far as its request tells."""

import dataclasses
import hashlib
import sys
from typing import Any

from django.http import HttpRequest
from django.utils.functional import LazyObject

__all__ = ["NOBODY", "Visitor", "identify", "session_digest", "view_of", "visitor_of"]

# The names that Django's authentication has for them in a session. Its module has models.
_USER_KEY = "_auth_user_id"
_HASH_KEY = "_auth_user_hash"


@dataclasses.dataclass(frozen=True, slots=True)
class Visitor:
    """
    The user, the session and the address of a request.

    Attributes:
        user_id: The user's primary key as a string; empty if nobody is logged in.
        session: A digest of the session's key; empty if there is no session.
        address: The client's, as the server gives it; empty if it gives none.
        session_key: The key itself, which is to leave the process by no way.
        session_hash: What the session knows of the user's password.
        session_type: The class of the session.
    """

    user_id: str = ""
    session: str = ""
    address: str = ""
    session_key: str = dataclasses.field(default="", repr=False)
    session_hash: str = dataclasses.field(default="", repr=False)
    session_type: type | None = None


NOBODY = Visitor()


def session_digest(key: str) -> str:
    """Return what stands for the session *key* where others can read it."""
    return hashlib.sha256(f"django_sse.session:{key}".encode()).hexdigest()[:40]


async def identify(request: HttpRequest) -> Visitor:
    """Return the visitor of *request*, whose session is loaded, by one query, if it has one."""
    session: Any = getattr(request, "session", None)
    if session is not None and session.session_key and not _is_loaded(session):
        await session.aget(_USER_KEY)
    return visitor_of(request)


def visitor_of(request: HttpRequest | None) -> Visitor:
    """Return the visitor of *request*, by what has been loaded of it: nothing is queried."""
    if request is None:
        return NOBODY
    session: Any = getattr(request, "session", None)
    key = (session.session_key if session is not None else None) or ""
    loaded = session._session_cache if key and _is_loaded(session) else {}
    user_id = _user_id(request) or loaded.get(_USER_KEY)
    return Visitor(
        user_id="" if user_id is None else str(user_id),
        session=session_digest(key) if key else "",
        address=request.META.get("REMOTE_ADDR") or "",
        session_key=key,
        session_hash=loaded.get(_HASH_KEY, ""),
        session_type=type(session) if key else None,
    )


def _is_loaded(session: Any) -> bool:
    # As SessionBase itself asks, before it loads.
    return hasattr(session, "_session_cache")


def _user_id(request: HttpRequest) -> Any:
    """Return the primary key of the user, if that has been loaded, or set by a middleware."""
    known = vars(request)
    user = known.get("_acached_user") or known.get("_cached_user") or known.get("user")
    return None if isinstance(user, LazyObject) else getattr(user, "pk", None)


def view_of(request: HttpRequest | None) -> str:
    """Return the name of the view that answers *request*, or else the path of its function."""
    match = getattr(request, "resolver_match", None)
    # One string for all the streams of a view.
    return sys.intern(match.view_name or match._func_path) if match is not None else ""
