"""Server-sent events for Django, on Channels."""

from django_sse.connections import aconnections, connections
from django_sse.control import adisconnect, disconnect
from django_sse.decorators import event_stream
from django_sse.events import ServerSentEvent
from django_sse.http import EventStreamResponse
from django_sse.live_querysets import LiveQuerySetView, subscribe_queryset
from django_sse.model_publishing import ModelPublisher, register, suppress_publishing
from django_sse.publishing import abroadcast, apublish, broadcast, publish
from django_sse.signals import (
    event_published,
    event_sent,
    events_dropped,
    stream_closed,
    stream_opened,
)
from django_sse.streams import EventStream
from django_sse.subscriptions import subscribe
from django_sse.views import EventStreamView

__all__ = [
    "EventStream",
    "EventStreamResponse",
    "EventStreamView",
    "LiveQuerySetView",
    "ModelPublisher",
    "ServerSentEvent",
    "abroadcast",
    "aconnections",
    "adisconnect",
    "apublish",
    "broadcast",
    "connections",
    "disconnect",
    "event_published",
    "event_sent",
    "event_stream",
    "events_dropped",
    "publish",
    "register",
    "stream_closed",
    "stream_opened",
    "subscribe",
    "subscribe_queryset",
    "suppress_publishing",
]
