"""Views of a module whose annotations are text."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from django.contrib.auth.decorators import login_not_required

from django_sse import event_stream
from tests.models import Room

if TYPE_CHECKING:
    from decimal import Decimal

    from django.http import HttpRequest

    from django_sse import EventStream

__all__ = ["handler", "odd", "wrapped"]


@event_stream(lookups={"room": "slug"})
async def handler(request: HttpRequest, stream: EventStream, room: Room, amount: Decimal) -> None:
    """Name types that only type checkers know, beside a model."""
    await stream.send([room.name, amount])


@event_stream(lookups={"room": "slug"})  # type: ignore[type-var]  # the stubs' views have one shape
@login_not_required
async def wrapped(request: HttpRequest, stream: EventStream, room: Room) -> None:
    """Be a handler under a decorator."""
    await stream.send(room.name)


@event_stream
async def odd(
    request: asyncio.NoSuchName,  # type: ignore[name-defined]
    stream: asyncio.Event[str],  # type: ignore[type-arg]
    room: Room | None,
    word: str,
) -> None:
    """Have annotations that type checkers may know how to read."""
    await stream.send([room, word])  # type: ignore[attr-defined]
