"""From a request to its response: what every event-stream view does before its own code."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.utils.cache import patch_vary_headers

from django_sse.access import allow_origin, is_refused_origin, refresh_user
from django_sse.arguments import ModelArguments, call_with_request
from django_sse.conf import get_settings
from django_sse.contexts import view_context
from django_sse.declarations import Declared
from django_sse.exceptions import ChannelLayerUnavailable, StoreUnavailable, StreamClosed
from django_sse.groups import check_groups, check_names
from django_sse.http import (
    EventStreamResponse,
    busy_response,
    has_room,
    needs_asgi_response,
    stream_headers,
)
from django_sse.lifetime import make_lifetime
from django_sse.options import StreamOptions
from django_sse.reasons import CloseReason
from django_sse.streams import EventStream
from django_sse.visitors import identify

__all__ = ["Author", "Endpoint", "run_outside_transactions"]

#: A view's own code, called with the request, the stream (None: a plain client) and the URL's
#: arguments. It returns a response, data (of a progressive view), or None.
Author = Callable[..., Awaitable[Any]]


_ENDED_BY_US = (
    CloseReason.NOT_SERVED,
    CloseReason.SHUTDOWN,
    CloseReason.SLOW,
    CloseReason.LOGGED_OUT,
    CloseReason.DISCONNECTED,
)


class _EveryAlias(set[str]):
    def __contains__(self, alias: object) -> bool:
        return True


_View = TypeVar("_View", bound=Callable[..., Any])


def run_outside_transactions(view: _View) -> _View:
    """
    Keep *view* out of ATOMIC_REQUESTS, whatever database asks for it.

    Django refuses an async view otherwise; transaction.non_atomic_requests() takes one alias.
    """
    view._non_atomic_requests = _EveryAlias()  # type: ignore[attr-defined]
    return view


class Endpoint:
    """One event-stream view: its code and its options."""

    def __init__(self, author: Author, options: StreamOptions, models: ModelArguments) -> None:
        self._author = author
        self._options = options
        self._models = models

    async def respond(
        self, request: HttpRequest, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase:
        """
        Answer *request*.

        Raises:
            Http404: If a URL argument names no instance of its model.
            PermissionDenied: If the origin or the guard refuses.
            Exception: What the view's own code raises before its stream has started.
        """
        options = self._options
        allowed = self._allowed_methods()
        if request.method not in allowed:
            return HttpResponseNotAllowed(allowed)
        if is_refused_origin(request, options.origins):
            raise PermissionDenied("A page of another site may not read this stream.")
        wants_stream = not options.progressive or _asks_for_stream(request)
        if wants_stream and isinstance(request, WSGIRequest):
            return needs_asgi_response()
        kwargs = await self._models.resolve(kwargs)
        if not await self._may(request, kwargs):
            raise PermissionDenied("The guard of this stream refuses.")
        if not wants_stream:
            response = await self._answer_plainly(request, args, kwargs)
        elif request.method == "HEAD":
            response = StreamingHttpResponse(_nothing(), headers=stream_headers())
        else:
            response = await self._answer_with_stream(request, args, kwargs)
        if options.progressive:
            patch_vary_headers(response, ["Accept"])
        allow_origin(request, response, options.origins)
        return response

    def _allowed_methods(self) -> list[str]:
        methods = list(self._options.methods)
        return [*methods, "HEAD"] if "GET" in methods else methods

    async def _may(self, request: HttpRequest, kwargs: Mapping[str, Any]) -> bool:
        guard = self._options.guard
        return guard is None or bool(await call_with_request(guard, request, kwargs))

    async def _answer_plainly(
        self, request: HttpRequest, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase:
        value = await self._author(request, None, *args, **kwargs)
        if isinstance(value, HttpResponseBase):
            return value
        return JsonResponse(value, encoder=get_settings().encoder, safe=False)

    async def _answer_with_stream(
        self, request: HttpRequest, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase:
        groups = await self._groups(request, kwargs)
        visitor = await identify(request)
        if not has_room(visitor):  # No wait from here to the stream that takes the room.
            return busy_response()
        context = view_context()
        stream = context.run(self._make_stream, request, kwargs)
        try:
            if groups:
                await stream.subscribe(*groups, presence=self._options.presence)
            author = self._author_result(stream, request, args, kwargs)
            return await self._run_author(stream, context.run(stream.run_author, author))
        except (ChannelLayerUnavailable, StoreUnavailable, StreamClosed) as error:
            is_error = isinstance(error, StreamClosed) and stream.reason not in _ENDED_BY_US
            await _discard(stream)
            if is_error:
                raise
            # Not an error status: a browser would never come back.
            return busy_response()
        except BaseException:
            await _discard(stream)
            raise

    @property
    def declared_groups(self) -> Declared:
        """What the option ``groups`` tells of the streams' groups. See declare_groups()."""
        groups = self._options.groups
        return self._find_groups if callable(groups) else check_names(groups)

    async def _find_groups(
        self, request: HttpRequest, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[str, ...]:
        return await self._groups(request, await self._models.resolve(kwargs))

    async def _groups(self, request: HttpRequest, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
        groups = self._options.groups
        if callable(groups):
            groups = await call_with_request(groups, request, kwargs)
        return check_groups(groups)

    def _make_stream(self, request: HttpRequest, kwargs: Mapping[str, Any]) -> EventStream:
        options = self._options

        async def may_still() -> bool:
            refresh_user(request)
            return await self._may(request, kwargs)

        lifetime = make_lifetime(
            heartbeat=options.heartbeat,
            retry=options.retry,
            max_duration=options.max_duration,
            recheck=options.recheck,
            guard=may_still if options.guard is not None else None,
        )
        last_event_id = _last_event_id(request)
        return EventStream(lifetime, request, last_event_id=last_event_id, start=options.start)

    async def _run_author(
        self, stream: EventStream, task: "asyncio.Task[HttpResponseBase | None]"
    ) -> HttpResponseBase:
        await asyncio.wait((task, stream.started), return_when=asyncio.FIRST_COMPLETED)
        if not stream.started.done():
            if task.cancelled() and stream.reason in _ENDED_BY_US:
                raise StreamClosed(f"{stream!r} had not begun.")
            response = task.result()
            if response is not None:
                await _discard(stream)
                return response
            stream.start()
            stream.settle()
        return EventStreamResponse.of(stream)

    async def _author_result(
        self,
        stream: EventStream,
        request: HttpRequest,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> HttpResponseBase | None:
        value = await self._author(request, stream, *args, **kwargs)
        if value is None or (isinstance(value, HttpResponseBase) and not stream.started.done()):
            return value
        if not self._options.progressive or isinstance(value, HttpResponseBase):
            raise TypeError(
                f"An event-stream view returned {value!r}; return None, or a response before"
                " anything is sent, or data where the view is progressive."
            )
        await stream.send(value)
        return None


def _last_event_id(request: HttpRequest) -> str | None:
    header = request.headers.get("Last-Event-ID")
    if not header:
        # npm's reconnecting-eventsource and others add theirs to a URL that may have an older one.
        return request.GET.get("lastEventId") or request.GET.get("last_event_id")
    try:
        # Browsers send it as UTF-8; Django reads every header as Latin-1.
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _asks_for_stream(request: HttpRequest) -> bool:
    # By name: "*/*", as curl sends it, is a plain client.
    return any(
        media_type.main_type == "text" and media_type.sub_type == "event-stream"
        for media_type in request.accepted_types
    )


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


async def _discard(stream: EventStream) -> None:
    stream.end(CloseReason.NOT_SERVED)
    stream.abort()  # It may have ended before, for another reason.
    await stream.finish()
