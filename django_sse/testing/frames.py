"""The events of a stream, from its bytes."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["ReceivedEvent", "fields_of"]


class ReceivedEvent(NamedTuple):
    """
    One event as a page's listener gets it.

    Attributes:
        data: The text.
        event: The type; "message" if the stream names none.
        id: The last event id by then; "" if there has been none.
    """

    data: str
    event: str = "message"
    id: str = ""

    def json(self) -> Any:
        """Return the data, parsed."""
        return json.loads(self.data)


def fields_of(frame: bytes) -> Mapping[str, str]:
    """Return the fields of *frame* by their names; the lines of its data are joined."""
    fields: dict[str, str] = {}
    for line in frame.decode().split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in fields:
            value = f"{fields['data']}\n{value}"
        if name:
            fields[name] = value
    return fields
