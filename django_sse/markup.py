"""What templates say of streams, as HTML: the same for every template engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.http import HttpRequest
from django.template import TemplateSyntaxError
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

from django_sse.conf import is_debug
from django_sse.declarations import declared_groups
from django_sse.element_attributes import check_attribute, is_attribute, suggest_attribute
from django_sse.group_streams import SignedUrl, sign_url
from django_sse.groups import split_groups
from django_sse.last_event_ids import get_last_event_id
from django_sse.tokens import bindings_of

try:
    from django.middleware.csp import get_nonce
except ImportError:  # Before Django 6.0.

    def get_nonce(request: HttpRequest) -> None:  # type: ignore[misc]
        """Return None: there is no such middleware."""


__all__ = [
    "Page",
    "event_source",
    "event_source_script",
    "event_source_url",
    "nonce_of",
    "script_url",
]


class Page(NamedTuple):
    """
    What a template engine knows of the page that it renders.

    Attributes:
        request: The request; None if the template has none.
        nonce: What the template has as ``csp_nonce``.
        rendered: What the page has already, kept from tag to tag of one render.
    """

    request: HttpRequest | None
    nonce: object
    rendered: set[str]


def event_source(page: Page, args: Sequence[Any], kwargs: Mapping[str, Any]) -> SafeString:
    """
    Return an ``<event-source>``, before it the script that defines it if the page has none yet.

    Args:
        page: What is rendered.
        args: The name of a URL and its positional arguments, or nothing.
        kwargs: ``groups``, ``last_event_id``, attributes of the element, arguments of the URL.

    Raises:
        ValueError: If something is missing, or breaks its rule.
        TemplateSyntaxError: If a keyword is unknown.
        NoReverseMatch: If there is no such URL.
        InvalidGroup: See make_token().
        ImproperlyConfigured: If something is needed that the project or the template lacks.
        SynchronousOnlyOperation: If something has to be waited for, on an event loop.
    """
    own = {name: value for name, value in kwargs.items() if is_attribute(name)}
    rest = {name: value for name, value in kwargs.items() if name not in own}
    given = {name: check_attribute(name, value) for name, value in own.items()}
    source = _find("event_source", page, args, rest)
    if source.signed and given.get("poll"):
        raise ValueError(
            f"poll={given['poll']!r} was given with groups=, whose stream gives no other answer"
            " that could be asked for; name the URL of a progressive view, or leave poll= out."
        )
    if given.get("shared"):
        given["shared"] = _reader_of(page.request) or True
    attributes = {
        "src": source.url,
        "last-event-id": source.last_event_id,
        "renew-url": source.signed and source.signed.renew_url,
        "renew-after": source.signed and source.signed.renew_after,
        **{name.replace("_", "-"): value for name, value in given.items()},
    }
    return format_html(
        "{}<event-source{}></event-source>", event_source_script(page), _write(attributes)
    )


def event_source_url(page: Page, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """
    Return the URL of a stream, with its last event id and, for groups, its token.

    Takes, and raises, what event_source() does, but for the attributes.
    """
    source = _find("event_source_url", page, args, kwargs)
    if source.last_event_id is None:
        return source.url
    query = urlencode({"last_event_id": source.last_event_id}, safe="~")
    return f"{source.url}{'&' if '?' in source.url else '?'}{query}"


def event_source_script(page: Page) -> SafeString:
    """
    Return the script that defines the element; nothing where the page has it already.

    With ``DEBUG`` that is the modules as they are written, else the small file that is built from
    them.
    """
    if "script" in page.rendered:
        return SafeString("")
    page.rendered.add("script")
    script = {"type": "module", **_files(), "nonce": _nonce_of(page)}
    return format_html("<script{}></script>", _write(script))


def script_url(name: str) -> str:
    """Return the URL of the script *name* of this package: as written with ``DEBUG``, or built."""
    return static(f"django_sse/{name}.js" if is_debug() else f"django_sse/{name}.min.js")


def _files() -> dict[str, str]:
    """Return the attributes of the script that name files."""
    entry = {"src": script_url("event-source")}
    if is_debug():
        return entry
    return {
        **entry,
        # What it imports when it is asked to. A storage gives files other names, but does not put
        # those into scripts, unless it is told to.
        "data-shared": static("django_sse/shared-connection.min.js"),
        "data-fetch": static("django_sse/fetch-source.min.js"),
    }


def _write(attributes: Mapping[str, Any]) -> SafeString:
    """Return those of *attributes* that are not None, as HTML; True is an empty one."""
    written = {name: "" if value is True else value for name, value in attributes.items()}
    # A string that is safe as text, as each literal of a Django template, is not so in quotes.
    pairs = [(name, escape(str(value))) for name, value in written.items() if value is not None]
    return format_html_join("", ' {}="{}"', pairs)


def _nonce_of(page: Page) -> str | None:
    nonces = [page.nonce]
    if page.request is not None:
        nonces += [getattr(page.request, "csp_nonce", None), get_nonce(page.request)]
    # One that nobody has asked for yet is false, and made when it becomes text.
    return next((str(nonce) for nonce in nonces if nonce is not None and str(nonce)), None)


def nonce_of(request: HttpRequest) -> str | None:
    """Return the nonce of the content security policy of *request*'s page, if it has one."""
    return _nonce_of(Page(request, None, set()))


class _Source(NamedTuple):
    url: str
    last_event_id: str | None
    signed: SignedUrl | None = None


def _find(tag: str, page: Page, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Source:
    """Return the stream that the arguments of *tag* name."""
    url_kwargs = dict(kwargs)
    given = url_kwargs.pop("groups", None) or ()
    groups = split_groups(str(given)) if isinstance(given, str | Promise) else list(given)
    noted = url_kwargs.pop("last_event_id", "")
    if args:
        if len(args) > 1 and url_kwargs:
            raise _unknown(tag, f"{args[0]!r}, whose arguments are given by position,", url_kwargs)
        url = _reverse(tag, page, args, url_kwargs)
        id = _last_event_id(noted, lambda: groups or declared_groups(url, page.request))
        return _Source(url, id)
    if not groups:
        raise ValueError(
            f"{tag} was given no URL, and groups={kwargs.get('groups')!r}; give the name of a"
            " stream's URL and its arguments, or groups='orders,announcements'."
        )
    if url_kwargs:
        raise _unknown(tag, f"groups={given!r}, which has no arguments,", url_kwargs)
    signed = _sign(tag, page.request, groups)
    return _Source(signed.url, _last_event_id(noted, lambda: groups), signed)


def _last_event_id(noted: Any, groups: Callable[[], Sequence[str]]) -> str | None:
    if noted is None or noted is False:  # The view has asked, and there is none.
        return None
    # What is only empty is a variable that the template does not have.
    return str(noted) if noted else get_last_event_id(*groups())


def _reverse(tag: str, page: Page, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    name, *url_args = args
    match = getattr(page.request, "resolver_match", None)
    current_app = getattr(page.request, "current_app", None) or getattr(match, "namespace", None)
    try:
        return reverse(name, args=url_args, kwargs=dict(kwargs), current_app=current_app)
    except NoReverseMatch as error:
        if not kwargs or tag != "event_source":
            raise
        # A typo in the name of an attribute is taken for an argument.
        raise NoReverseMatch(
            f"{error} Keywords that are no attribute of the element are arguments of the URL:"
            f" {', '.join(map(repr, kwargs))}; {suggest_attribute(next(iter(kwargs)))}"
        ) from error


def _unknown(tag: str, of: str, kwargs: Mapping[str, Any]) -> TemplateSyntaxError:
    """Return the error of a keyword that can be no argument of the URL."""
    name = next(iter(kwargs))
    is_element = tag == "event_source"
    why = suggest_attribute(name) if is_element else "it renders no element with attributes."
    return TemplateSyntaxError(f"{tag} {of} cannot take the keyword {name!r}; {why}")


def _sign(tag: str, request: HttpRequest | None, groups: Sequence[str]) -> SignedUrl:
    what = f"{tag} groups={groups!r}"
    if request is None:
        raise ImproperlyConfigured(
            f"{what} needs the request, to whose reader the token is bound: render the template"
            " with it, or name the URL of a view."
        )
    with _told_how_to_load_the_user(what):
        return sign_url(request, groups)


def _reader_of(request: HttpRequest | None) -> str:
    """Return what tells the login of the page's reader from others; empty for nobody."""
    if request is None:
        return ""
    with _told_how_to_load_the_user("event_source shared=True"):
        return bindings_of(request)[0]


@contextmanager
def _told_how_to_load_the_user(what: str) -> Iterator[None]:
    try:
        yield
    except SynchronousOnlyOperation as error:
        raise SynchronousOnlyOperation(
            f"{what} needs the request's user, who is not loaded yet, on an event loop. In an"
            " async view await request.auser() before; or render the template in"
            " sync_to_async(render)."
        ) from error
