"""Streams that are in the same groups, and so get the same bytes."""

import asyncio
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
    The members that are in exactly these groups.

    Attributes:
        members: All of them.
        live: Those that are at the audience's place and are handed each event as it comes; the
            others are on their way there.
        readers: Those of the live ones that have no more to do with an event than to write it.
        place: How far its events have been handed out.
    """

    __slots__ = ("_due", "groups", "live", "members", "place", "readers")

    def __init__(self, groups: frozenset[str], place: Place | None = None) -> None:
        self.groups = groups
        self.members: set[Member] = set()
        self.live: dict[Member, None] = {}  # In the order in which they became so.
        self.readers = Readers()
        self.place = place or Place({})
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
        except (
            Exception,
            asyncio.CancelledError,
        ):  # The others must not lose their events with it.
            logger.exception("Events could not be handed to %r.", member)


_NO_GROUPS: frozenset[str] = frozenset()


def groups_of(member: Member) -> frozenset[str]:
    """Return the groups that *member* is in."""
    return member.audience.groups if member.audience is not None else _NO_GROUPS


class Audiences:
    """All the audiences of a hub."""

    def __init__(self, positions: Callable[[Iterable[str]], Mapping[str, Position]]) -> None:
        self._positions = positions  # Returns how far the hub has come in some groups.
        self._by_groups: dict[frozenset[str], Audience] = {}
        self._by_group: dict[str, set[Audience]] = {}

    def of(self, group: str) -> Iterable[Audience]:
        """Return those that *group* is a part of."""
        return self._by_group.get(group, ())

    def at(self, groups: frozenset[str]) -> Audience | None:
        """Return the one of exactly these *groups*, if there is one."""
        return self._by_groups.get(groups)

    def __iter__(self) -> Iterator[Audience]:
        return iter(self._by_groups.values())

    def sizes(self) -> dict[str, int]:
        """Return how many members each group has."""
        return {
            group: sum(len(audience.members) for audience in audiences)
            for group, audiences in self._by_group.items()
        }

    def place(self, member: Member, groups: frozenset[str]) -> None:
        """Put *member* before the events of *groups*, and of these only; live, if it was."""
        old = member.audience
        is_live = old is None or member in old.live
        if old is not None:
            old.withdraw(member)
            old.members.discard(member)
            if not old.members:
                self._forget(old)
        new = self._at(groups) if groups else None
        member.audience = new
        if new is not None:
            new.members.add(member)
            if is_live:
                new.admit(member)
                if old is not None:
                    new.place.merge(old.place, groups & old.groups)

    def _at(self, groups: frozenset[str]) -> Audience:
        audience = self._by_groups.get(groups)
        if audience is None:
            audience = Audience(groups, Place(self._positions(groups)))
            self._by_groups[groups] = audience
            for group in groups:
                self._by_group.setdefault(group, set()).add(audience)
        return audience

    def _forget(self, audience: Audience) -> None:
        del self._by_groups[audience.groups]
        for group in audience.groups:
            audiences = self._by_group[group]
            audiences.discard(audience)
            if not audiences:
                del self._by_group[group]
