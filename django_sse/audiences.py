"""Streams that are in the same groups, and so get the same bytes."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from django_sse.batches import Batch
from django_sse.places import Place
from django_sse.positions import Position
from django_sse.readers import Readers
from django_sse.runs import Run
from django_sse.signals import event_sent

__all__ = ["Audience", "Audiences", "Member", "deliver", "groups_of"]

logger = logging.getLogger("django.sse")


class Member(Protocol):
    """A stream or a subscription, as the hub sees it."""

    audience: "Audience | None"

    def take(self, batch: Batch) -> None:
        """Take over the events of *batch*, without waiting."""

    def join(self, readers: "Readers") -> None:
        """Leave it to *readers* to write what comes, if no more than that is to be done."""

    def part(self) -> None:
        """Take batches again, if readers have written them."""


class Audience:
    """
    Members that are in exactly these groups, and pass over the same events of them.

    Attributes:
        members: All of them.
        live: Those that are at the audience's place and are handed each event as it comes; the
            others are on their way there.
        readers: Those of the live ones that have no more to do with an event than to write it.
        place: How far its events have been handed out.
        is_apart: Whether it is only for those who pass over what others do not, or reversely.
    """

    __slots__ = ("_due", "groups", "is_apart", "live", "members", "place", "readers")

    def __init__(self, groups: frozenset[str], place: Place | None = None) -> None:
        self.groups = groups
        self.members: set[Member] = set()
        self.live: dict[Member, None] = {}  # In the order in which they became so.
        self.readers = Readers()
        self.place = place or Place({})
        self.is_apart = False
        self._due: list[Run] = []

    def put(self, run: Run) -> bool:
        """Have *run* handed out by flush(). Return whether it is the first for that."""
        self._due.append(run)
        return len(self._due) == 1

    def admit(self, member: Member) -> None:
        """Hand each event to *member*, which is at the audience's place."""
        self.live[member] = None

    def withdraw(self, member: Member) -> None:
        """Hand *member* nothing more, until it is live again."""
        self.live.pop(member, None)
        if member in self.readers:
            member.part()

    def flush(self, now: float) -> None:
        """
        Hand what is due to every member that is live, to others what no store has.

        *Now* is the loop's time, in seconds.
        """
        runs, self._due = self._due, []
        # One that its client reads as it comes has nowhere to go on from.
        is_place_needed = len(self.readers) < len(self.members)
        before = self.place.copy() if is_place_needed else None
        advanced = [self.place.go_through(run, self.groups) for run in runs]
        stretches = [stretch for stretch in advanced if stretch is not None]
        if not stretches:
            return
        loose = [stretch for stretch in stretches if not stretch.run.has_history]
        behind = self.members.difference(self.live) if loose and is_place_needed else ()
        self._hand_out(Batch(stretches, before if len(loose) < len(stretches) else None), now)
        if behind:
            deliver(Batch(loose), behind)

    def _hand_out(self, batch: Batch, now: float) -> None:
        readers, live = self.readers, self.live
        if event_sent.receivers:  # They are told of every event of every stream.
            deliver(batch, live)
            return
        others = [m for m in live if m not in readers] if len(readers) < len(live) else []
        if readers:
            readers.write(batch, now)
        deliver(batch, others)
        for member in others:
            if member in live:
                member.join(readers)


def deliver(batch: Batch, members: Iterable[Member]) -> None:
    """Hand *batch* to *members*; one that ends meanwhile leaves its audience, hence the copy."""
    for member in tuple(members):
        try:
            member.take(batch)
        # The others must not lose their events with it.
        except (Exception, asyncio.CancelledError):
            logger.exception("Events could not be handed to %r.", member)


_NO_GROUPS: frozenset[str] = frozenset()


def groups_of(member: Member) -> frozenset[str]:
    """Return the groups that *member* is in."""
    return member.audience.groups if member.audience is not None else _NO_GROUPS


class Audiences:
    """All the audiences of a hub."""

    def __init__(self, positions: Callable[[Iterable[str]], Mapping[str, Position]]) -> None:
        self._positions = positions  # Returns how far the hub has come in some groups.
        self._by_groups: dict[frozenset[str], list[Audience]] = {}
        self._by_group: dict[str, set[Audience]] = {}

    def of(self, group: str) -> Iterable[Audience]:
        """Return those that *group* is a part of."""
        return self._by_group.get(group, ())

    def at(self, groups: frozenset[str]) -> Audience | None:
        """Return that of exactly these *groups*, but for those apart, if there is one."""
        audiences = self._by_groups.get(groups, ())
        return next((audience for audience in audiences if not audience.is_apart), None)

    def __iter__(self) -> Iterator[Audience]:
        return itertools.chain.from_iterable(self._by_groups.values())

    def sizes(self) -> dict[str, int]:
        """Return how many members each group has."""
        return {
            group: sum(len(audience.members) for audience in audiences)
            for group, audiences in self._by_group.items()
        }

    def place(self, member: Member, groups: frozenset[str]) -> None:
        """Put *member* before the events of *groups*, and of these only; live, if it was."""
        old = member.audience
        self._rejoin(groups)
        if not groups:
            self._move(member, None)
        elif old is None:
            self._move(member, self.at(groups) or self._make(groups))
        else:
            self._move(member, self._at(groups, old.place, groups & old.groups))

    def settle(self, member: Member, place: Place) -> None:
        """Make *member* live: it has come to *place*, and so to the positions of its audience."""
        assert member.audience is not None
        groups = member.audience.groups
        self._move(member, self._at(groups, member.audience.place.knowing(place), groups))
        member.audience.admit(member)

    def _at(self, groups: frozenset[str], place: Place, common: frozenset[str]) -> Audience:
        """Return the audience of *groups* for who comes from *place*, and was in *common*."""
        for audience in self._by_groups.get(groups, ()):
            if audience.place.passes_over_as(place, common):
                return audience
        # Those who are there have an event from a group that this one was not in, or reversely.
        audience = self._make(groups)
        audience.is_apart = self.at(groups) is not audience or not place.passes_over_as(
            audience.place, common
        )
        audience.place.merge(place, common)
        return audience

    def _make(self, groups: frozenset[str]) -> Audience:
        audience = Audience(groups, Place(self._positions(groups)))
        self._by_groups.setdefault(groups, []).append(audience)
        for group in groups:
            self._by_group.setdefault(group, set()).add(audience)
        return audience

    def _rejoin(self, groups: frozenset[str]) -> None:
        """Put those of *groups* that differ no more from the others back to these."""
        if (usual := self.at(groups)) is None:
            return
        for audience in tuple(self._by_groups[groups]):
            if audience.is_apart and audience.place.passes_over_as(usual.place, groups):
                for member in tuple(audience.members):
                    self._move(member, usual)

    def _move(self, member: Member, new: Audience | None) -> None:
        old = member.audience
        is_live = old is None or member in old.live
        if old is new:
            return
        if old is not None:
            old.withdraw(member)
            old.members.discard(member)
            if not old.members:
                self._forget(old)
        member.audience = new
        if new is not None:
            new.members.add(member)
            if is_live:
                new.admit(member)

    def _forget(self, audience: Audience) -> None:
        alike = self._by_groups[audience.groups]
        alike.remove(audience)
        if not alike:
            del self._by_groups[audience.groups]
        for group in audience.groups:
            audiences = self._by_group[group]
            audiences.discard(audience)
            if not audiences:
                del self._by_group[group]
