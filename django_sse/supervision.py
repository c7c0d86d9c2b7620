"""The users of a hub's open streams, and whether they may still read them."""

import itertools
from typing import Protocol

from asgiref.sync import sync_to_async

from django_sse.rights import Standing, look
from django_sse.visitors import Visitor

__all__ = ["Supervised", "Supervision"]

# At each look, of those that were looked at before: some milliseconds of the worker's time.
_LOOKS_AT_ONCE = 250


class Supervised(Protocol):
    """A stream whose user may lose their rights."""

    @property
    def visitor(self) -> Visitor:
        """Who has opened it."""


class Supervision:
    """
    Knows the streams of users who are logged in, and looks at all of these users in turns.

    Most who lose their rights are told of at once, by a signal. This is for those of whom no
    signal tells (``update(is_active=False)``, a session that is deleted or runs out), and for
    what a lossy channel layer has not brought.
    """

    def __init__(self) -> None:
        self._streams: dict[Visitor, set[Supervised]] = {}
        self._new: set[Visitor] = set()
        self._known: dict[Visitor, Standing] = {}  # In the order of their turns.

    @property
    def is_empty(self) -> bool:
        """Whether nobody is logged in."""
        return not self._streams

    def add(self, stream: Supervised) -> None:
        """Look at the user of *stream*, if it has one, soon and from then on."""
        visitor = stream.visitor
        if visitor.user_id:
            if visitor not in self._streams:
                self._streams[visitor] = set()
                self._new.add(visitor)
            self._streams[visitor].add(stream)

    def discard(self, stream: Supervised) -> None:
        """Forget *stream*."""
        visitor = stream.visitor
        if (streams := self._streams.get(visitor)) is not None:
            streams.discard(stream)
            if not streams:
                del self._streams[visitor]
                self._new.discard(visitor)
                self._known.pop(visitor, None)

    async def look(self) -> list[Supervised]:
        """Return the streams of those who may not read them any more. Raises as the ORM does."""
        new = list(self._new)
        known = dict(itertools.islice(self._known.items(), _LOOKS_AT_ONCE))
        refused, standings = await sync_to_async(look)(new, known)
        for visitor, standing in {**known, **standings}.items():
            self._known.pop(visitor, None)  # To the end of the row.
            if visitor in self._streams:
                self._known[visitor] = standing
        self._new.difference_update(new)
        return [stream for visitor in refused for stream in self._streams.get(visitor, ())]
