"""Signed tokens: which groups a page may read, and who reads that page."""

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.contrib.sessions.backends import signed_cookies
from django.core import signing
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest

from django_sse.conf import get_settings
from django_sse.exceptions import InvalidGroup
from django_sse.groups import check_groups

__all__ = ["RENEWAL_SECONDS", "Token", "bindings_of", "make_token", "read_token", "renew_after"]

#: How old a token may be that is exchanged for a new one: a laptop sleeps that long.
RENEWAL_SECONDS = 86_400

_SALT = "django_sse.tokens"
# A token stands in a URL, of which servers and proxies take some 8 KB, beside a last event id.
_MAX_NAMES_BYTES = 3_000
_NOBODY = ""


class Token(NamedTuple):
    """
    What a token says.

    Attributes:
        binding: For whom it was made; one of what bindings_of() returns for their requests.
        groups: The groups that they may read.
    """

    binding: str
    groups: tuple[str, ...]


def make_token(request: HttpRequest, groups: str | Iterable[str]) -> str:
    """
    Return a token by which whoever has made *request* may read *groups*.

    Its text is signed, not encrypted: who holds it can read the groups' names.

    Raises:
        InvalidGroup: If a group is no name, there is none or there are more than ``MAX_GROUPS``,
            or the names are too long for a URL.
    """
    names = check_groups(groups)
    if not names:
        raise InvalidGroup("A token was to be made of no group; name at least one.")
    size = sum(len(name.encode()) + 1 for name in names)
    if size > _MAX_NAMES_BYTES:
        raise InvalidGroup(
            f"The names of {len(names)} groups take {size} bytes, and a token in a URL has room"
            f" for {_MAX_NAMES_BYTES}; use one group for all of them, or shorter names."
        )
    return signing.dumps([bindings_of(request)[0], *names], salt=_SALT, compress=True)


def read_token(text: str, *, max_age_seconds: float) -> Token | None:
    """
    Return what the token *text* says; None if it is not one of this project, or is too old.

    Whose it is, the caller compares with bindings_of().
    """
    max_age = math.ceil(max_age_seconds)
    try:
        binding, *names = signing.loads(text, salt=_SALT, max_age=max_age)
        return Token(binding, check_groups(names))
    except (signing.BadSignature, InvalidGroup):  # MAX_GROUPS may be lower by now.
        return None


def renew_after() -> int:
    """Return in how many seconds a page gets a new token, well before the old one is too old."""
    return max(1, int(get_settings().token_seconds * 0.8))


def bindings_of(request: HttpRequest) -> list[str]:
    """
    Return the bindings of the tokens that *request* may use; the first is that of new ones.

    A login is bound by its user and their password: a changed one ends its tokens, and the
    user's other sessions may use them. A visitor without a login is bound by the session, if there
    is one. Tokens made for one without either are good for any visitor without a login. For a
    user that is not loaded yet, and for the session, this asks the database.
    """
    user = _login_of(request)
    if user is not None:
        return [_digest("user", str(user.pk), auth) for auth in _auth_hashes(user)]
    key = _session_key(request)
    return [_NOBODY] if key is None else [_digest("session", key), _NOBODY]


def _login_of(request: HttpRequest) -> Any:
    """Return the user who is logged in; None if nobody is."""
    user = getattr(request, "user", None)
    try:
        return user if user is not None and user.is_authenticated else None
    except SynchronousOnlyOperation:
        # On an event loop: what request.auser() has loaded is at hand.
        known = vars(request).get("_acached_user")
        if known is None:
            raise
        return known if known.is_authenticated else None


def _auth_hashes(user: Any) -> Iterator[str]:
    # Not every user model has a password.
    yield user.get_session_auth_hash() if hasattr(user, "get_session_auth_hash") else ""
    # As after a change of SECRET_KEY, from which the hash is made.
    if hasattr(user, "get_session_auth_fallback_hash"):
        yield from user.get_session_auth_fallback_hash()


def _session_key(request: HttpRequest) -> str | None:
    session = getattr(request, "session", None)
    # The key of a session in a cookie is its content, another after each change.
    if session is None or isinstance(session, signed_cookies.SessionStore):
        return None
    session.keys()  # Loads it: the key of one that is gone is forgotten.
    key: str | None = session.session_key
    return key


def _digest(*parts: str) -> str:
    # Of what nobody can guess, so that it needs no key; the token as a whole is signed.
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return base64.urlsafe_b64encode(digest[:18]).decode()
