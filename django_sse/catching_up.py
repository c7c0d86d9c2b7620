"""The way of one reader from where it was to where its audience is."""

import asyncio
import collections
from collections.abc import Iterator, Mapping, Sequence

from django_sse.audiences import Member, groups_of
from django_sse.envelope import Delivery
from django_sse.following import Following
from django_sse.hub import Hub
from django_sse.metrics import metrics
from django_sse.places import Place
from django_sse.positions import Position
from django_sse.reasons import ResetReason
from django_sse.replays import Piece
from django_sse.runs import Item

__all__ = ["CatchUp"]


class CatchUp:
    """
    Reads for *member*, from *place* on, until that is the place of its audience.

    A replay after a reconnection, a history that a new client asks for, and a slow client that
    could not be handed what came: each is this. The member gets no batch meanwhile; it asks for
    the next events by read() when it has room for them. With the last of them it is live again,
    in the same step, so that nothing comes twice and nothing is passed over.
    """

    __slots__ = ("_following", "_hub", "_member", "_resets", "_watched", "place")

    def __init__(self, hub: Hub, member: Member, place: Place) -> None:
        assert hub.following is not None
        assert member.audience is not None
        self.place = place.copy()  # Others begin at the same one.
        self._hub = hub
        self._following: Following = hub.following
        self._member = member
        self._watched = member.audience.groups
        self._following.watch(self._watched)
        self._resets = self._following.resets(self._watched)
        member.audience.withdraw(member)

    def regroup(self, start: Place | None = None) -> None:
        """Follow a change of the member's groups; *start* is where to begin in new ones."""
        audience, before = self._member.audience, self._watched
        self._watched = groups_of(self._member)
        self._following.watch(self._watched)
        self._following.unwatch(before)
        self._resets = {**self._following.resets(self._watched), **self._resets}
        if audience is None:
            self.place = self.place.moved({})
        else:
            start = start or audience.place
            self.place = self.place.moved(start.positions)
            self.place.merge(start, self._watched - before)
            audience.withdraw(self._member)

    async def read(self) -> Sequence[Item] | None:
        """
        Return the next events, in order; None if the member is live now, or in no group.

        Raises:
            Exception: What the store raises. To be called again, then.
        """
        while (audience := self._member.audience) is not None:
            # A reset that has come, and waits to be handed out, counts already.
            self._hub.gathering.flush()
            live = audience.place.positions
            if lost := self._lost(live):
                return lost
            lagging = {
                group: position
                for group, position in self.place.positions.items()
                if position != live.get(group)
            }
            if not lagging:
                self._hub.audiences.settle(self._member, self.place)
                return None
            pieces = {group: await self._read(group, after) for group, after in lagging.items()}
            # No wait from here on: who gives up reading, or a store that fails, loses nothing.
            here = self.place.positions  # The member may have left a group meanwhile.
            due = {group: pieces[group] for group in lagging if here.get(group) == lagging[group]}
            if items := self._take_all(due):
                return items
        return None

    def _lost(self, live: Mapping[str, Position]) -> list[Item]:
        """Return the resets that the audience has had meanwhile."""
        before, self._resets = self._resets, self._following.resets(self.place.positions)
        return [
            self._take(Delivery.of_reset(group, live[group], ResetReason.LOST))
            for group, count in self._resets.items()
            if group in live and count != before.get(group, count)
        ]

    async def _read(self, group: str, after: Position) -> Piece:
        piece = await self._following.read(group, after)
        is_empty = not piece.deliveries and piece.reset is None
        if is_empty and (healing := self._following.heal(group)) is not None:
            # The member has more than this hub: it comes from another process.
            await asyncio.shield(healing)
        return piece

    def _take_all(self, pieces: Mapping[str, Piece]) -> list[Item]:
        items = []
        for group, piece in pieces.items():
            if piece.reset is not None:
                metrics.resets_sent += 1
                items.append(self._take(Delivery.of_reset(group, piece.reset, piece.reason)))
        groups = self.place.positions
        items += [
            self._item(delivery)
            for delivery in _in_step(pieces, self.place)
            if self.place.take(delivery, groups)
        ]
        return items

    def _take(self, delivery: Delivery) -> Item:
        self.place.take(delivery, ())
        return self._item(delivery)

    def _item(self, delivery: Delivery) -> Item:
        return Item(delivery, self.place.id_line)

    def close(self) -> None:
        """Read no more."""
        self._following.unwatch(self._watched)
        self._watched = frozenset()


def _in_step(pieces: Mapping[str, Piece], place: Place) -> Iterator[Delivery]:
    """
    Yield what is in *pieces*, in order for each group, so that an event's copies come together.

    Otherwise those of one group would all be known before they come in another, and each id
    would have to tell of them. It ends where the next piece of a group is needed.
    """
    left = {
        group: collections.deque(piece.deliveries)
        for group, piece in pieces.items()
        if piece.deliveries
    }
    while (group := _next(left, place)) is not None:
        yield left[group].popleft()
        if not left[group] and not pieces[group].is_full:
            del left[group]


def _next(left: Mapping[str, collections.deque[Delivery]], place: Place) -> str | None:
    """Return the group to go on with: one whose next event waits for no other group's."""
    group = next((group for group, queue in left.items() if queue), None)
    passed = set()
    while group is not None and left[group]:
        first = left[group][0]
        passed.add(group)
        others = () if len(first.groups) < 2 or place.is_ahead(first) else first.groups
        behind = [
            name
            for name in others
            if name in left and not (left[name] and left[name][0].mark == first.mark)
        ]
        if not behind or passed.issuperset(behind):
            return group
        group = next(name for name in behind if name not in passed)
    return None
