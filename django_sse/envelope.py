"""An event on its way through a channel layer."""

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

from django_sse.conf import get_settings
from django_sse.events import ServerSentEvent
from django_sse.exceptions import EventTooLarge
from django_sse.framing import frame
from django_sse.history import Entry
from django_sse.positions import Position, new_mark, record

__all__ = [
    "Delivery",
    "LayerMessage",
    "Packed",
    "address",
    "events_of",
    "join",
    "pack",
    "to_message",
    "unpack",
    "unpack_all",
]

#: The ``type`` of the message; Channels dispatches consumers by it, the hub does not.
TYPE = "sse.event"

# What of an ASCII text goes on the wire at most: a line end becomes "\ndata: ". And beside it.
_MOST_PER_CHARACTER = 7
_MOST_BESIDE = 64


class Delivery:
    """
    One event as the hub delivers it: its frame, made once, and the event, made when asked for.

    Attributes:
        group: Whom it is for.
        number: Its place in the group's history; None if it is in none.
        mark: The event's own mark, the same in each of its groups.
        previous: The mark of the event before it in that history.
        key: The events of one group and key replace each other while they wait.
        groups: All the groups that the event was published to.
        frame: The bytes that each stream writes, but for the line with the id.
        is_reset: Whether it tells that events were lost, and is no event of the group itself.
        record: What an id says of the place behind it; nothing if it is in no history.
    """

    __slots__ = (
        "_event",
        "_fields",
        "frame",
        "group",
        "groups",
        "is_reset",
        "key",
        "mark",
        "number",
        "previous",
        "record",
    )

    def __init__(self, message: Mapping[str, Any], *, is_reset: bool = False) -> None:
        self.group: str = message["group"]
        self.number: int | None = message.get("number")
        self.mark: str = message.get("mark", "")
        self.previous: str = message.get("previous", "")
        key = message.get("key")
        self.key: tuple[str, str] | None = None if key is None else (self.group, key)
        self.groups: Sequence[str] = message.get("groups", (self.group,))
        self.is_reset = is_reset
        self._fields = message
        self._event: ServerSentEvent | None = None
        self.frame = frame(message["data"], event=message.get("event"), retry=message.get("retry"))
        self.record = b"" if self.number is None else record(self.group, self.position)

    @classmethod
    def of(cls, entry: Entry) -> "Delivery":
        """Return the delivery of an *entry* of a store."""
        return cls(to_message(entry))

    @classmethod
    def of_reset(cls, group: str, position: Position, reason: str) -> "Delivery":
        """Return what tells a reader that it goes on at *position*, and has missed events."""
        fields = {"group": group, "number": position.number, "mark": position.mark}
        return cls({**fields, "event": "reset", "data": reason}, is_reset=True)

    @property
    def position(self) -> Position:
        """The place in the group's history behind this event, which has a number."""
        assert self.number is not None
        return Position(self.number, self.mark)

    @property
    def is_simple(self) -> bool:
        """Whether it tells of no more than its own group, and of that only its next event."""
        return len(self.groups) < 2 and not self.is_reset

    def follows(self, position: Position) -> bool:
        """Tell whether this is the very next event after *position*."""
        return self.number == position.number + 1 and self.previous == position.mark

    @property
    def event(self) -> ServerSentEvent:
        """The event as it was published, its JSON data parsed again."""
        if self._event is None:
            self._event = self.event_with(b"", None)
        return self._event

    def event_with(self, id_line: bytes, id: str | None) -> ServerSentEvent:
        """Return the event with *id*, which *id_line* puts on the wire."""
        fields = self._fields
        data = fields["data"]
        event = ServerSentEvent(
            json.loads(data) if fields.get("json") else data,
            event=fields.get("event"),
            id=id,
            retry=fields.get("retry"),
        )
        object.__setattr__(event, "_frame", id_line + self.frame)
        return event


class LayerMessage(dict[str, Any]):
    """What a layer carries. Nobody changes it: inside the process it needs no copy."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "LayerMessage":
        return self


class Packed(NamedTuple):
    """An event ready for the layer: checked, and encoded."""

    event: ServerSentEvent
    message: LayerMessage


def pack(event: ServerSentEvent, *, key: str | None = None, groups: Sequence[str] = ()) -> Packed:
    """
    Return *event* with a message that every layer and every store can carry.

    Its ``group`` is left open; *groups* are told where they are several.

    Raises:
        InvalidEvent: If the data cannot be encoded.
        EventTooLarge: If the event takes more than ``MAX_EVENT_BYTES``.
    """
    text, limit = event.text(), get_settings().max_event_bytes
    size = _size(event, text or "", limit)
    if size > limit:
        raise EventTooLarge(
            f"The event takes {size} bytes; DJANGO_SSE['MAX_EVENT_BYTES'] is {limit}. Send a"
            " reference that the page can fetch, or raise the limit."
        )
    message = LayerMessage(type=TYPE, mark=new_mark(), data=text)
    if event.data is not None and not isinstance(event.data, str):
        message["json"] = True
    for name, value in (("event", event.event), ("retry", event.retry), ("key", key)):
        if value is not None:
            message[name] = value
    if len(groups) > 1:
        message["groups"] = list(groups)
    return Packed(event, message)


def _size(event: ServerSentEvent, text: str, limit: int) -> int:
    """Return the bytes of *event*, or no more than they are where that is under *limit*."""
    most = _MOST_PER_CHARACTER * len(text) + _MOST_BESIDE
    if most < limit and event.event is None and text.isascii():
        return len(text)  # It can be encoded, and is short: without doing so that is known.
    return len(frame(text, event=event.event, retry=event.retry))


def address(message: Mapping[str, Any], group: str) -> LayerMessage:
    """Return *message*, which is in no history, for *group*."""
    return LayerMessage(message, group=group)


def to_message(entry: Entry) -> LayerMessage:
    """Return *entry* as the message that a channel layer carries."""
    return LayerMessage(
        entry.message, group=entry.group, number=entry.number, previous=entry.previous
    )


def join(messages: Sequence[LayerMessage], group: str | None = None) -> LayerMessage:
    """
    Return one message for *messages*, which are events of histories, for those who read *group*.

    None is the group that all of them are of.
    """
    first = messages[0]
    if len(messages) == 1 and group is None:
        return first
    to = first["group"] if group is None else group
    return LayerMessage(type=TYPE, group=to, number=first["number"], events=list(messages))


def events_of(message: Mapping[str, Any]) -> Sequence[Any]:
    """Return the messages that *message* has joined, in order, or itself as the only one."""
    return message.get("events") or (message,)


def unpack_all(message: dict[str, Any], followed: Container[str] | None = None) -> list[Delivery]:
    """
    Return what *message* carries, in order, be it joined or not; raises as unpack() does.

    With *followed*, events of the histories of other groups are left out, before they cost more:
    what many groups get at once comes to every hub, and most of it no stream there reads.
    """
    return [
        unpack(event)
        for event in events_of(message)
        if followed is None or event.get("number") is None or event["group"] in followed
    ]


def unpack(message: dict[str, Any]) -> Delivery:
    """Return the delivery that *message* carries; raises KeyError or TypeError if it is none."""
    if isinstance(message, LayerMessage):
        return Delivery(message)  # It was made here.
    texts = [message["group"], *message.get("groups", ())]
    texts += [message[name] for name in ("key", "mark", "previous") if name in message]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is not a string.")
    number = message.get("number")
    if number is not None and not (isinstance(number, int) and "previous" in message):
        raise TypeError(f"{number!r} is not the number of an event, or it has no previous one.")
    return Delivery(message)
