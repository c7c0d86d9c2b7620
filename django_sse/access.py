"""Who may read a stream: pages of which origins, and users as they are now."""

from collections.abc import Sequence

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject

__all__ = ["allow_origin", "is_refused_origin", "refresh_user"]


def is_refused_origin(request: HttpRequest, allowed: Sequence[str]) -> bool:
    """
    Tell whether *request* comes from a page of another site that is not *allowed*.

    The browser sends the user's cookies with it, and cannot lie about the header.
    Source: W3C Fetch Metadata, 2.3 "Sec-Fetch-Site".
    """
    return (
        request.headers.get("Sec-Fetch-Site") == "cross-site"
        and request.headers.get("Origin") not in allowed
    )


def allow_origin(request: HttpRequest, response: HttpResponseBase, allowed: Sequence[str]) -> None:
    """Add the headers by which a browser lets a page of an *allowed* origin read *response*."""
    if not allowed:
        return
    patch_vary_headers(response, ["Origin"])
    origin = request.headers.get("Origin")
    if origin is not None and origin in allowed:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"


def refresh_user(request: HttpRequest) -> None:
    """
    Let ``request.user`` be loaded anew when it is next asked for, from the session as it is now.

    A stream's request may be hours old: its user may have logged out or lost a right since.
    Without Django's sessions and authentication, nothing is done.
    """
    session = getattr(request, "session", None)
    if session is None or not hasattr(request, "auser"):
        return
    from django.contrib.auth.middleware import get_user

    for name in ("_cached_user", "_acached_user"):
        vars(request).pop(name, None)
    request.session = type(session)(session.session_key)
    request.user = SimpleLazyObject(lambda: get_user(request))  # type: ignore[assignment]
