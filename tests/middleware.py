"""Middleware of the kinds that projects have."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware, sync_only_middleware

__all__ = ["add_header_sync", "add_headers", "replace_response", "wrap_content"]

GetResponse = Callable[[HttpRequest], Awaitable[Any]]


@async_only_middleware
def add_headers(get_response: GetResponse) -> GetResponse:
    """Set a header and two cookies."""

    async def middleware(request: HttpRequest) -> Any:
        response = await get_response(request)
        response.headers["X-Added"] = "café"
        response.set_cookie("first", "1")
        response.set_cookie("second", "2")
        return response

    return middleware


@async_only_middleware
def wrap_content(get_response: GetResponse) -> GetResponse:
    """Put a generator around what is streamed, as those that count or compress do."""

    async def wrapped(content: Any) -> AsyncIterator[bytes]:
        async for chunk in content:
            yield chunk.replace(b"secret", b"******")

    async def middleware(request: HttpRequest) -> Any:
        response = await get_response(request)
        if response.streaming:
            response.streaming_content = wrapped(response.streaming_content)
        return response

    return middleware


@async_only_middleware
def replace_response(get_response: GetResponse) -> GetResponse:
    """Answer with something else than what the view has returned."""

    async def middleware(request: HttpRequest) -> Any:
        await get_response(request)
        return HttpResponse("replaced")

    return middleware


@sync_only_middleware
def add_header_sync(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Be middleware of the old kind, for which Django goes to a thread and back."""

    def middleware(request: HttpRequest) -> Any:
        response = get_response(request)
        response.headers["X-Sync"] = "yes"
        return response

    return middleware
