"""Streams of groups without a view: a token names the groups, or the project allows them."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from django_sse.access import allow_origin, is_refused_origin
from django_sse.calls import call
from django_sse.conf import get_settings
from django_sse.exceptions import InvalidGroup
from django_sse.groups import check_groups, split_groups
from django_sse.tokens import (
    RENEWAL_SECONDS,
    bindings_of,
    make_token,
    read_token,
    renew_after,
)
from django_sse.views import EventStreamView

__all__ = ["GroupStreamView", "SignedUrl", "renew_token", "sign_url"]


class GroupStreamView(EventStreamView):
    """
    The stream of the groups of ``?token=…``, or of ``?groups=…`` as far as GROUP_ACCESS allows.

    Whatever is wrong with a request, the answer is the same: nobody learns from it which groups
    there are, or what became of a token.
    """

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """See View.setup(). A token is read once: an open stream may become older than it."""
        super().setup(request, *args, **kwargs)
        self._binding: str | None = None
        self._names: Sequence[str] = ()
        text = request.GET.get("token")
        if text is None:
            self._names = _names_in(request.GET.get("groups", ""))
        elif token := read_token(text, max_age_seconds=get_settings().token_seconds):
            self._binding, self._names = token

    def get_groups(self) -> Sequence[str]:
        """Return the groups that are asked for."""
        return self._names

    async def has_access(self) -> bool:
        """Return whether the token is the reader's, or else GROUP_ACCESS allows each group."""
        # Also where they are not needed, for the response then varies by the cookie.
        bindings = await sync_to_async(bindings_of)(self.request)
        if self._binding is not None:
            return self._binding in bindings
        for name in self._names:
            if not await _may_read(self.request, name):
                return False
        return bool(self._names)


def _names_in(text: str) -> Sequence[str]:
    try:
        return check_groups(split_groups(text))
    except InvalidGroup:
        return ()


async def _may_read(request: HttpRequest, group: str) -> bool:
    function = get_settings().group_access
    try:
        return function is not None and bool(await call(function, request, group))
    except (ObjectDoesNotExist, Http404, PermissionDenied):
        return False  # As if it was there, and not for this reader.


class SignedUrl(NamedTuple):
    """
    The URL of a stream of groups, by a token.

    Attributes:
        url: It may be opened for ``TOKEN_SECONDS``.
        renew_url: Where to get the next one.
        renew_after: In how many seconds.
    """

    url: str
    renew_url: str
    renew_after: int


def sign_url(request: HttpRequest, groups: str | Sequence[str]) -> SignedUrl:
    """
    Return a URL by which whoever has made *request* may read *groups*.

    Raises:
        ImproperlyConfigured: If ``django_sse.urls`` is not in the URLconf.
        InvalidGroup: See make_token().
    """
    try:
        stream, renewal = reverse("django_sse:groups"), reverse("django_sse:token")
    except NoReverseMatch as error:
        raise ImproperlyConfigured(
            "A stream of groups needs the URLs of django_sse: add path('sse/',"
            " include('django_sse.urls')) to the URLconf."
        ) from error
    query = urlencode({"token": make_token(request, groups)}, safe=":")
    return SignedUrl(f"{stream}?{query}", f"{renewal}?{query}", renew_after())


@require_safe
def renew_token(request: HttpRequest) -> JsonResponse:
    """
    Answer a token, which may be too old to open a stream, with a URL that has a new one.

    Raises:
        PermissionDenied: If it is another reader's, or over a day old, or no token.
    """
    origins = get_settings().allowed_origins
    bindings = bindings_of(request)
    max_age = max(RENEWAL_SECONDS, get_settings().token_seconds)
    token = read_token(request.GET.get("token", ""), max_age_seconds=max_age)
    if is_refused_origin(request, origins) or token is None or token.binding not in bindings:
        raise PermissionDenied("This token cannot be renewed.")
    renewed = sign_url(request, token.groups)
    response = JsonResponse(renewed._asdict(), headers={"Cache-Control": "no-store"})
    allow_origin(request, response, origins)
    return response
