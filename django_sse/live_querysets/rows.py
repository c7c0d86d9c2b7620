"""One row as it is told, made once for all who follow the same queryset."""

import dataclasses
from typing import Any, Literal

from django.db.models import Model
from django.template.loader import render_to_string

from django_sse.events import ServerSentEvent
from django_sse.model_publishing import ModelPublisher
from django_sse.model_publishing.publishers import Change

__all__ = ["Kind", "Row", "RowForm", "merged"]

#: What is told of a row; also the event type.
Kind = Literal["enter", "change", "leave"]

_CHANGES: dict[Kind, Change] = {"enter": "created", "change": "updated"}


class Row:
    """The data of a row, and the events that tell them: each is written once, for all clients."""

    __slots__ = ("_data", "_events")

    def __init__(self, data: Any) -> None:
        self._data = data
        self._events: dict[Kind, ServerSentEvent] = {}

    def event(self, kind: Kind) -> ServerSentEvent:
        """Return the event that tells *kind* of the row."""
        if kind not in self._events:
            self._events[kind] = ServerSentEvent(self._data, event=kind)
        return self._events[kind]


@dataclasses.dataclass(frozen=True)
class RowForm:
    """
    How a row is told.

    Attributes:
        publisher: Whose get_data() is sent.
        template_name: A template whose fragment is sent instead.
    """

    publisher: ModelPublisher
    template_name: str | None = None

    def row(self, instance: Model, kind: Kind) -> Row:
        """Return *instance* as it is told. It may use the ORM."""
        row = Row(self._data(instance, _CHANGES[kind]))
        row.event(kind).encode()  # Here, in a thread; and an error is one of this row.
        return row

    def _data(self, instance: Model, change: Change) -> Any:
        if self.template_name is None:
            return self.publisher.get_data(instance, change)
        name = str(instance._meta.model_name)
        context = {"object": instance, name: instance, "change": change}
        return render_to_string(self.template_name, context)

    def gone(self, pk: Any) -> Row:
        """Return what is told of a row that has left."""
        return Row({self.publisher.model._meta.pk.name: pk})


_MERGED: dict[tuple[Kind, Kind], Kind | None] = {
    ("enter", "change"): "enter",
    ("enter", "leave"): None,
    ("leave", "enter"): "change",
}


def merged(unsent: Kind, kind: Kind) -> Kind | None:
    """Return what an *unsent* event of a row and the one after it come to; None for nothing."""
    return _MERGED.get((unsent, kind), kind)
