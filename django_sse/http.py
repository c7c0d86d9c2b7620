"""The response that is an event stream."""

import random
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from django_sse.conf import get_settings
from django_sse.contexts import view_context
from django_sse.framing import frame
from django_sse.hub import get_hub
from django_sse.lifetime import Lifetime, make_lifetime
from django_sse.metrics import metrics
from django_sse.streams import EventStream
from django_sse.transports import pull
from django_sse.visitors import Visitor, visitor_of

__all__ = [
    "EventStreamResponse",
    "busy_response",
    "has_room",
    "needs_asgi_response",
    "stream_headers",
]

_NEEDS_ASGI = (
    "Event streams need ASGI: this process serves the project through WSGI, where a stream would"
    " hold a worker for as long as it is open. Serve django_sse.asgi.get_asgi_application() with"
    " daphne, uvicorn, hypercorn or granian; for development put 'daphne' first in"
    " INSTALLED_APPS and set ASGI_APPLICATION.\n"
)


def stream_headers() -> dict[str, str]:
    """Return the headers of an event stream, each against something that would hold it up."""
    return {
        "Content-Type": "text/event-stream",
        # Some proxies gather or compress a body that they may store or transform.
        "Cache-Control": "no-store, no-transform",
        # nginx would buffer the response.
        "X-Accel-Buffering": "no",
        # GZipMiddleware leaves a response alone that has an encoding; it would gather it too.
        "Content-Encoding": "identity",
    }


def needs_asgi_response() -> HttpResponse:
    """Return what WSGI answers where a stream was asked for."""
    return HttpResponse(_NEEDS_ASGI, status=501, content_type="text/plain; charset=utf-8")


def has_room(visitor: Visitor) -> bool:
    """Tell whether this process may open another stream, and one for *visitor*."""
    hub, limit = get_hub(), get_settings().max_connections
    is_full = limit is not None and hub.size >= limit
    return not (hub.is_closing or is_full) and hub.occupancy.has_room(visitor)


def busy_response() -> HttpResponse:
    """
    Return a stream that sends its client away for a while.

    It has status 200: any other makes a browser give up for ever.
    """
    return HttpResponse(_busy_frame(), headers=stream_headers())


def _busy_frame() -> bytes:
    metrics.streams_refused += 1
    return frame(retry=round(get_settings().reconnection_time_ms * random.uniform(5, 15)))


def _feeding_stream(
    lifetime: Lifetime, values: AsyncIterable[object], request: HttpRequest | None
) -> EventStream:
    stream = EventStream(lifetime, request)
    stream.start()
    stream.create_task(stream.feed(values))
    return stream


class _Source:
    """What one response serves. It is made once, when the request is known."""

    def __init__(self, make: Callable[[HttpRequest | None], EventStream | bytes]) -> None:
        self.request: HttpRequest | None = None
        self._make = make
        self._made: EventStream | bytes | None = None

    def __call__(self) -> EventStream | bytes:
        if self._made is None:
            self._made = self._make(self.request)
        return self._made


class _Closers(list[Any]):
    """
    What a response closes in the end. The last is its request: each of Django's handlers adds it.

    By that a response learns in time which request it answers, and by what handler.
    """

    def __init__(self, response: "EventStreamResponse") -> None:
        super().__init__(response._resource_closers)
        # Weak: in a cycle each response would stay until the garbage collector comes.
        self._response = weakref.ref(response)

    def append(self, closer: Any) -> None:
        super().append(closer)
        request, response = getattr(closer, "__self__", None), self._response()
        if isinstance(request, HttpRequest) and response is not None:
            response.answer(request)


class EventStreamResponse(StreamingHttpResponse):
    """
    An event stream, to be returned from any view under ASGI.

    Args:
        async_iterable: What to send: ServerSentEvent, strings, or data for JSON. It is iterated
            over once, while the stream is open, and closed in the end.
        heartbeat: Seconds without an event until a comment is sent; None is the setting.
        retry: The client's reconnection time in milliseconds; None is the setting.
        max_duration: Seconds until the stream ends, spread by 20 %; None is the setting.

    Raises:
        TypeError: If *async_iterable* is none.
        ValueError: If an option breaks its rule.
    """

    def __init__(
        self,
        async_iterable: AsyncIterable[object],
        *,
        heartbeat: float | None = None,
        retry: int | None = None,
        max_duration: float | None = None,
    ) -> None:
        if not hasattr(async_iterable, "__aiter__"):
            raise TypeError(
                f"EventStreamResponse takes an async iterable, not {async_iterable!r}; write the"
                " events' source as an async generator."
            )
        lifetime = make_lifetime(heartbeat=heartbeat, retry=retry, max_duration=max_duration)
        context = view_context()

        def make(request: HttpRequest | None) -> EventStream | bytes:
            if request is not None and request.method == "HEAD":
                return b""
            if not has_room(visitor_of(request)):
                return _busy_frame()
            return context.copy().run(_feeding_stream, lifetime, async_iterable, request)

        self._init_stream(_Source(make))

    @classmethod
    def of(cls, stream: EventStream) -> "EventStreamResponse":
        """Return the response of a *stream* that there is already."""
        response = cls.__new__(cls)
        response._init_stream(_Source(lambda request: stream))
        return response

    def _init_stream(self, source: _Source) -> None:
        self._source = source
        self._body = pull(source)
        super().__init__(self._body, headers=stream_headers())
        self._resource_closers = _Closers(self)

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Without Django's two generators in between, the end reaches the stream at once.
        return self._body if self._is_untouched else super().__aiter__()

    def __iter__(self) -> Iterator[bytes]:
        # Django would gather the whole stream first: for ever.
        return iter([_NEEDS_ASGI.encode()])

    @property
    def _is_untouched(self) -> bool:
        # A middleware may have put something around the body.
        return getattr(self, "_iterator", None) is self._body

    @property
    def stream(self) -> EventStream | None:
        """The stream, if it is one that can be served without going through the body."""
        made = self._source() if self._is_untouched else None
        return made if isinstance(made, EventStream) else None

    def answer(self, request: HttpRequest) -> None:
        """Know the *request*, which is answered by this response: under WSGI by a refusal."""
        self._source.request = request
        if isinstance(request, WSGIRequest):
            self.status_code = 501
            self.headers["Content-Type"] = "text/plain; charset=utf-8"
