"""The shapes that pass between an ASGI server, Django and this package."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

__all__ = ["ChannelLayer", "Message", "Predicate", "Receive", "Scope", "Send"]

#: What a server knows of a request. Source: ASGI, "HTTP Connection Scope".
Scope = MutableMapping[str, Any]
#: One ASGI event; its ``type`` names it.
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
#: A server may return any awaitable, not only a coroutine: granian does.
Send = Callable[[Message], Awaitable[None]]
#: Called with the request and the view's URL arguments that it names.
Predicate = Callable[..., bool] | Callable[..., Awaitable[bool]]


class ChannelLayer(Protocol):
    """What the hub and publishing use of a channel layer. Source: Channels' specification."""

    async def new_channel(self) -> str: ...
    async def send(self, channel: str, message: dict[str, Any]) -> None: ...
    async def receive(self, channel: str) -> dict[str, Any]: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...
