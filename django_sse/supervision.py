"""The users of a hub's open streams, and whether they may still read them."""

import itertools
import logging
from collections.abc import Callable
from typing import Protocol

from asgiref.sync import sync_to_async

from django_sse.metrics import metrics
from django_sse.rights import UNSEEN, Standing, look
from django_sse.visitors import Visitor

__all__ = ["Supervised", "Supervision"]

logger = logging.getLogger("django.sse")

# That is every fourth tick of the registrar.
_LOOK_SECONDS = 3.5
# At each look, of those that were looked at before: some milliseconds of the worker's time.
_LOOKS_AT_ONCE = 1000


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
    what a lossy channel layer has not brought. The first look at somebody only takes down what
    there is to be lost.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._streams: dict[Visitor, set[Supervised]] = {}
        self._new: set[Visitor] = set()
        self._known: dict[Visitor, Standing] = {}  # In the order of their turns.
        self._look_at = 0.0
        self._told: set[str] = set()

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
        """
        Look at those who are new, and every few seconds at some of the others.

        Returns:
            The streams of those who may not read them any more.

        Raises:
            django.db.Error: See rights.look().
        """
        chosen = dict.fromkeys(self._new, UNSEEN)
        now = self._clock()
        if now >= self._look_at:
            chosen.update(itertools.islice(self._known.items(), _LOOKS_AT_ONCE))
        if not chosen:
            return []
        refused, standings = await sync_to_async(look)(chosen, self._tell)
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
        self._new.difference_update(chosen)
        for visitor, standing in {**chosen, **standings}.items():
            self._known.pop(visitor, None)  # To the end of the row.
            if visitor in self._streams:
                self._known[visitor] = standing
        return [stream for visitor in refused for stream in self._streams.get(visitor, ())]

    def _tell(self, what: str, error: Exception) -> None:
        """Log, once, that something fails of one visitor, or of one kind of them."""
        text = f"{what}: {type(error).__name__}"
        metrics.registry_errors += 1
        log = logger.debug if text in self._told else logger.error
        self._told.add(text)
        log("The rights of some users cannot be looked at (%s).", text, exc_info=error)
