"""The wire form of an event: UTF-8 lines, ended by a blank one."""

import re

from django_sse.exceptions import InvalidEvent

__all__ = ["HEARTBEAT", "check_field", "check_retry", "frame"]

#: A comment with no text: it keeps proxies awake, and a browser drops it.
HEARTBEAT = b":\n\n"

# The wire breaks lines at these only; str.splitlines() would also split at U+2028 and others.
_LINE_END = re.compile("\r\n|\r|\n")
_FORBIDDEN = re.compile("[\r\n\0]")


def check_field(name: str, value: object) -> None:
    """
    Raise unless *value* can stand in the one-line field *name* (``event`` or ``id``).

    Raises:
        InvalidEvent: If it is not a string, or holds CR, LF or NUL: a line end would let the
            value write fields of its own, and a browser ignores an id that holds NUL.
    """
    if not isinstance(value, str):
        raise InvalidEvent(f"{name}={value!r} is a {type(value).__name__}; it must be a string.")
    if found := _FORBIDDEN.search(value):
        raise InvalidEvent(
            f"{name}={value!r} holds {found.group()!r}; CR, LF and NUL cannot stand in the"
            f" {name} field: remove them, or carry the value in data."
        )


def check_retry(value: object) -> None:
    """Raise InvalidEvent unless *value* is a whole number of milliseconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidEvent(f"retry={value!r} must be a whole number of milliseconds, 0 or more.")


def frame(
    data: str | None = None,
    *,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    comment: str | None = None,
) -> bytes:
    """
    Encode checked fields as event-stream text that ends in a blank line.

    *data* and *comment* become one line for each of their own lines. With no *data* a browser
    dispatches nothing, but takes over *id* and *retry*.

    Raises:
        InvalidEvent: If the text holds a lone surrogate, which UTF-8 cannot carry.

    Source: WHATWG HTML, 9.2.5 "Parsing an event stream".
    """
    lines = []
    # Joined, not formatted: an enum of strings formats as its name, its value was checked.
    if comment is not None:
        lines += [f": {line}" if line else ":" for line in _LINE_END.split(comment)]
    if event is not None:
        lines.append("event: " + event)
    if id is not None:
        lines.append("id: " + id)
    if retry is not None:
        lines.append(f"retry: {int(retry)}")
    if data is not None:
        lines += [f"data: {line}" for line in _LINE_END.split(data)]
    try:
        return "\n".join([*lines, "", ""]).encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent(
            f"{error.object[error.start : error.end]!r} at character {error.start} of the event"
            " cannot be written as UTF-8; replace lone surrogates before sending."
        ) from error
