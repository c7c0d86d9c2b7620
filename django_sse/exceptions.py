"""Every error that the package raises on purpose."""

__all__ = [
    "ChannelLayerUnavailable",
    "EventTooLarge",
    "EventsDropped",
    "InvalidEvent",
    "InvalidGroup",
    "SSEError",
    "StoreUnavailable",
    "StreamClosed",
]


class SSEError(Exception):
    """The base of the family: catch it to catch all of them."""


class InvalidEvent(SSEError, ValueError):
    """A field of an event cannot be written to an event stream."""


class EventTooLarge(InvalidEvent):
    """An event is longer than ``MAX_EVENT_BYTES``."""


class InvalidGroup(SSEError, ValueError):
    """A group is not a string, is empty, or there are more than ``MAX_GROUPS``."""


class StreamClosed(SSEError):
    """Something was sent to a stream that has ended."""


class EventsDropped(SSEError):
    """A reader fell behind by more than ``QUEUE_MAX_BYTES`` and lost its place."""


class ChannelLayerUnavailable(SSEError):
    """The channel layer did not take a membership in time, or at all."""


class StoreUnavailable(SSEError):
    """The store of past events did not answer in time, or at all."""
