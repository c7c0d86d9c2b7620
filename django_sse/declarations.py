"""Which groups a view's streams are in, as far as it says so before it runs."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.http import HttpRequest
from django.urls import Resolver404, get_script_prefix, resolve

from django_sse import loops

__all__ = ["Declared", "declare_groups", "declared_groups"]

#: Names of groups, or an async function of a request and the URL's arguments that returns them.
Declared = (
    Sequence[str]
    | Callable[
        [HttpRequest, tuple[Any, ...], Mapping[str, Any]], Coroutine[Any, Any, Sequence[str]]
    ]
)

# On the view function, where functools.wraps() takes it along to whatever is put around it.
_ATTRIBUTE = "declared_groups"


def declare_groups(view: Callable[..., Any], groups: Declared) -> None:
    """Let *view* tell that its streams are in *groups*."""
    setattr(view, _ATTRIBUTE, groups)


def declared_groups(url: str, request: HttpRequest | None) -> Sequence[str]:
    """
    Return the groups that the view at *url* tells, which reverse() has made.

    Where they depend on the request, *request* is taken for it: that of the page.

    Raises:
        ImproperlyConfigured: If they depend on the request, and there is none.
        SynchronousOnlyOperation: If they do, on an event loop, where nothing can be awaited.
    """
    try:
        match = resolve("/" + unquote(url).removeprefix(get_script_prefix()))
    except Resolver404:
        return ()
    groups: Declared = getattr(match.func, _ATTRIBUTE, ())
    if not callable(groups):
        return groups
    if request is None:
        raise ImproperlyConfigured(
            f"The groups of {url!r} are a function of the request, and the template has none:"
            " render it with the request, or give last_event_id=."
        )
    if loops.is_loop_thread():
        raise SynchronousOnlyOperation(
            f"The groups of {url!r} are a function, which a template cannot await on an event"
            " loop. In an async view write last_event_id = await aget_last_event_id(...), and give"
            " it to the template; or render the template in sync_to_async(render)."
        )
    return async_to_sync(groups)(request, match.args, match.kwargs)
