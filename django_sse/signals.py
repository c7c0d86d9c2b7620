"""The package's signals."""

from django.dispatch import Signal

__all__ = ["event_published", "event_sent", "events_dropped", "stream_closed", "stream_opened"]

#: An event stream begins. Sent with ``stream``.
stream_opened = Signal()
#: An event goes to a stream. Sent with ``stream`` and ``event``, once for each of them.
event_sent = Signal()
#: A stream has ended, its callbacks have run. Sent with ``stream`` and ``reason`` (a str).
stream_closed = Signal()
#: The store has taken an event; of one that goes to no store, the channel layer. Sent with
#: ``groups`` (a tuple) and ``event``.
event_published = Signal()
#: A slow reader lost events. Sent with ``stream`` (or the subscription) and ``count``.
events_dropped = Signal()
