"""Why a stream ended, or has to begin anew."""

import enum

__all__ = ["CloseReason", "ResetReason"]


class CloseReason(enum.StrEnum):
    """The ``reason`` of the signal ``stream_closed``, and of the log."""

    CLIENT = "client left"
    FINISHED = "finished"
    CLOSED = "closed by the view"
    MAX_DURATION = "max_duration reached"
    GUARD = "guard refused"
    LOGGED_OUT = "logged out"
    DISCONNECTED = "disconnected"
    SLOW = "too slow"
    SEND_TIMEOUT = "send timeout"
    NOT_SERVED = "never served"
    ERROR = "error"
    SHUTDOWN = "shutdown"


class ResetReason(enum.StrEnum):
    """The data of the event ``reset``: why the page has to load its state afresh."""

    #: The last event id was not made by this package.
    MALFORMED = "malformed"
    #: It belongs to none of the groups, to another ``SECRET_KEY``, or to a history that is lost.
    UNKNOWN = "unknown"
    #: What followed it has been forgotten by now.
    OUTDATED = "outdated"
    #: The history was lost while the stream was open.
    LOST = "lost"
