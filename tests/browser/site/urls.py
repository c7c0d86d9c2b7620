"""
Pages with a list of rows, the streams that add to it, and a publisher.

The rows have no ids: the element would put a second one in place of the first, and so hide it.
What a page shows when it is rendered is in the cache, the site's database.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib.staticfiles.views import serve
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import include, path, re_path

from django_sse import EventStream, event_stream, publish

#: What a page may ask of its element, and how that is written in a URL.
ATTRIBUTES = {
    "shared": bool,
    "pause_hidden": bool,
    "poll": float,
    "transport": str,
    "reload_url": str,
}
_POLICY = "default-src 'none'; img-src 'self'; connect-src 'self'; script-src "
_POLICIES = {"self": f"{_POLICY} 'self'", "nonce": f"{_POLICY} 'nonce-of-the-page'"}


def _group(request: HttpRequest, group: str) -> Sequence[str]:
    return [group]


@event_stream(groups=_group)
async def rows_stream(request: HttpRequest, stream: EventStream, group: str) -> Any:
    """Be fed by the group of the URL; one may be over, and one be for those who have logged in."""
    if await cache.aget(f"{group}.over"):
        return HttpResponse(status=204)
    if await cache.aget(f"{group}.private"):
        return HttpResponseRedirect(f"/fragment/{group}/")  # In the place of a page to log in.
    return None


@event_stream(groups=_group, progressive=True)
async def progress(request: HttpRequest, stream: EventStream | None, group: str) -> Any:
    """Tell how far the group has come: a client that can wait by its stream, another at once."""
    return {"last": await cache.aget(group, 0)}


def publish_some(request: HttpRequest, group: str) -> HttpResponse:
    """Publish the rows from the number *first* on, every other one by an event with a name."""
    first, count = int(request.GET["first"]), int(request.GET["count"])
    for number in range(first, first + count):
        cache.set(group, number)
        publish(group, f"<li>{number}</li>", event="row" if number % 2 else None)
    return HttpResponse()


def end(request: HttpRequest, group: str) -> HttpResponse:
    """Let the group be over: its stream answers 204."""
    cache.set(f"{group}.over", True)
    return HttpResponse()


def make_private(request: HttpRequest, group: str) -> HttpResponse:
    """Let the group's stream lead to a page."""
    cache.set(f"{group}.private", True)
    return HttpResponse()


def icon(request: HttpRequest) -> HttpResponse:
    """Have an icon, which browsers ask for."""
    return HttpResponse(headers={"Content-Type": "image/png"})


def page(request: HttpRequest, group: str, template: str) -> HttpResponse:
    """Show a page whose element has the attributes of the query."""
    asked = request.GET.dict()
    policy = asked.get("policy")
    context = {
        "group": group,
        # Asked for where the template comes to it, below the tag.
        "rows": lambda: range(1, cache.get(group, 0) + 1),
        "is_signed": "signed" in asked,
        # None is for none; what is empty the tag finds out for itself.
        "noted": None if "forgetful" in asked else "",
        **{
            name: make(asked[name]) if name in asked else None for name, make in ATTRIBUTES.items()
        },
    }
    if policy == "nonce":
        context["csp_nonce"] = "of-the-page"
    response = render(request, template, context)
    if policy in _POLICIES:
        response["Content-Security-Policy"] = _POLICIES[policy]
    return response


def _with_djangos_policy(view: Any) -> Any:
    try:
        from django.utils.csp import CSP
        from django.views.decorators.csp import csp_override
    except ImportError:  # Before Django 6.0.
        return view
    return csp_override(
        {
            "default-src": [CSP.NONE],
            "img-src": [CSP.SELF],
            "connect-src": [CSP.SELF],
            "script-src": [CSP.NONCE],
        }
    )(view)


_rows_page = partial(page, template="rows.html")

urlpatterns = [
    path("page/<group>/", _rows_page),
    path("page-with-djangos-policy/<group>/", _with_djangos_policy(_rows_page)),
    path("progress-page/<group>/", partial(page, template="progress.html")),
    path("fragment/<group>/", partial(page, template="fragment.html")),
    path("stream/<group>/", rows_stream, name="rows"),
    path("progress/<group>/", progress, name="progress"),
    path("publish/<group>/", publish_some),
    path("end/<group>/", end),
    path("make-private/<group>/", make_private),
    path("favicon.ico", icon),
    path("sse/", include("django_sse.urls")),
    re_path("^static/(?P<path>.*)$", partial(serve, insecure=True)),
    path("", include("tests.servers.site.urls")),
]
