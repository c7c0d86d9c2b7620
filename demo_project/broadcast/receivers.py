"""How many streams this worker has open, told to whoever wants to know."""

import os

from django.dispatch import receiver
from django.template.loader import render_to_string

from django_sse import apublish, stream_closed, stream_opened

open_streams: set[str] = set()


def lobby() -> str:
    """Return the name of the group that is told; each worker has its own, and its own number."""
    return f"lobby.{os.getpid()}"


def count() -> int:
    return len(open_streams)


async def tell() -> None:
    html = render_to_string("broadcast/_open_streams.html", {"open_streams": count})
    await apublish(lobby(), html, event="streams", key="streams")


@receiver(stream_opened)
async def on_opened(stream, **kwargs):
    open_streams.add(stream.id)
    await tell()


@receiver(stream_closed)
async def on_closed(stream, **kwargs):
    open_streams.discard(stream.id)
    await tell()
