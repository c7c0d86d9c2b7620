"""One server-sent event, as a value."""

import dataclasses
import functools
import json
from typing import Any

from django_sse.conf import get_settings
from django_sse.exceptions import InvalidEvent
from django_sse.framing import check_field, check_retry, frame

__all__ = ["ServerSentEvent"]


@functools.cache
def _encoder(encoder: type[json.JSONEncoder]) -> json.JSONEncoder:
    # JSON has no NaN: a page's JSON.parse() would fail.
    return encoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclasses.dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """
    One event of a stream.

    Args:
        data: A ``str`` is sent as it is; anything else as JSON, by the setting ``ENCODER``.
            None sends no data, and a browser then dispatches no event.
        event: The event type that a page listens for; None means ``message``.
        id: The new last event id. The empty string forgets it.
        retry: The reconnection time from here on, in milliseconds.
        comment: Text that no page sees, for logs and people.

    Raises:
        InvalidEvent: If a field breaks its rule: CR, LF or NUL in *event* or *id*, a *retry*
            that is not a whole number of milliseconds, a *comment* that is not a string.

    Source: WHATWG HTML, 9.2 "Server-sent events".
    """

    data: Any = None
    _: dataclasses.KW_ONLY
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None
    _frame: bytes | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.event is not None:
            check_field("event", self.event)
        if self.id is not None:
            check_field("id", self.id)
        if self.retry is not None:
            check_retry(self.retry)
        if self.comment is not None and not isinstance(self.comment, str):
            raise InvalidEvent(f"comment={self.comment!r} must be a string.")

    def text(self) -> str | None:
        """
        Return the data as it goes over the wire: None, the string itself, or JSON.

        Raises:
            InvalidEvent: If the data cannot be written as JSON.
        """
        if self.data is None or isinstance(self.data, str):
            return self.data
        try:
            encoder = _encoder(get_settings().encoder)  # type: ignore[arg-type]  # Hashable.
            return encoder.encode(self.data)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidEvent(
                f"Data of type {type(self.data).__name__} cannot be written as JSON ({error});"
                " pass JSON's own types, or name an encoder in DJANGO_SSE['ENCODER']."
            ) from error

    def encode(self) -> bytes:
        """
        Encode the event as UTF-8 event-stream text ending in a blank line.

        The result is kept: data that is changed afterwards is not sent.

        Raises:
            InvalidEvent: If the data cannot be written as JSON or as UTF-8.
        """
        if self._frame is None:
            encoded = frame(
                self.text(),
                event=self.event,
                id=self.id,
                retry=self.retry,
                comment=self.comment,
            )
            object.__setattr__(self, "_frame", encoded)
        assert self._frame is not None
        return self._frame
