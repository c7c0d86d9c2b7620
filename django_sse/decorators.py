"""The decorator that makes an event-stream view of a coroutine function or an async generator."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, overload

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_sse.arguments import ModelArguments, check_lookups
from django_sse.declarations import declare_groups
from django_sse.endpoints import Author, Endpoint, run_outside_transactions
from django_sse.options import StreamOptions, make_options
from django_sse.streams import EventStream, as_event

__all__ = ["event_stream"]

#: As django-stubs wants the async views that path() takes.
View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


@overload
def event_stream(view: Callable[..., Any], /) -> View: ...
@overload
def event_stream(**options: Any) -> Callable[[Callable[..., Any]], View]: ...
def event_stream(view: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """
    Make an event-stream view of *view*, alone or with options.

    An async generator function of the request and the URL's arguments is the generator style:
    what it yields is sent. A coroutine function that takes the stream as its second argument is
    the handler style: it sets the stream up and returns; the stream goes on with its groups.

    The result is a coroutine function, so that Django's view decorators go around it.

    Args:
        view: The coroutine function or async generator function.
        options: See StreamOptions.

    Raises:
        TypeError: If *view* is neither of the two, or an option is unknown.
        ValueError: If an option breaks its rule.
    """
    checked = make_options(options)
    if view is None:
        return functools.partial(_decorate, options=checked)
    return _decorate(view, checked)


def _decorate(view: Callable[..., Any], options: StreamOptions) -> View:
    endpoint = Endpoint(_author_of(view, options), options, ModelArguments(view, options.lookups))
    check_lookups(view, options.lookups)

    @functools.wraps(view)
    async def stream_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await endpoint.respond(request, args, kwargs)

    if inspect.isasyncgenfunction(view):
        # functools.wraps() makes inspect see the generator; Django must see a coroutine function.
        del stream_view.__wrapped__
    declare_groups(stream_view, endpoint.declared_groups)
    # An async view cannot run in the transaction that ATOMIC_REQUESTS opens.
    return run_outside_transactions(stream_view)


def _author_of(view: Callable[..., Any], options: StreamOptions) -> Author:
    if inspect.isasyncgenfunction(view):
        return _generator_author(view, options)
    if iscoroutinefunction(view):
        if len(inspect.signature(view).parameters) < 2:
            raise TypeError(
                f"{view!r} takes no stream: write async def {getattr(view, '__name__', 'view')}"
                "(request, stream, ...), or yield the events."
            )
        return view
    raise TypeError(
        f"event_stream needs a coroutine function or an async generator function, not {view!r};"
        " write it with async def."
    )


def _generator_author(view: Callable[..., AsyncIterator[Any]], options: StreamOptions) -> Author:
    async def author(
        request: HttpRequest, stream: EventStream | None, /, *args: Any, **kwargs: Any
    ) -> Any:
        values = view(request, *args, **kwargs)
        if stream is None:
            async with aclosing(values) as plain:  # type: ignore[type-var]
                async for value in plain:
                    return as_event(value).data
            raise TypeError(f"{view!r} yielded nothing that could be the body of a response.")
        stream.start()
        await stream.feed(values)
        return None

    return author
