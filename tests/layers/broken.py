"""A channel layer whose server is down."""

from typing import Any

from channels.layers import InMemoryChannelLayer

__all__ = ["BrokenLayer"]


class BrokenLayer(InMemoryChannelLayer):
    """The in-memory layer, which raises in every call about a group."""

    async def group_add(self, group: str, channel: str) -> None:
        raise ConnectionError("the layer is down")

    async def group_discard(self, group: str, channel: str) -> None:
        raise ConnectionError("the layer is down")

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        raise ConnectionError("the layer is down")
