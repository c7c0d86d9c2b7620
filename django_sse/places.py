"""How far a reader has come in each of its groups."""

from collections.abc import Collection, Iterable, Mapping

from django_sse.envelope import Delivery
from django_sse.positions import Position, join, record
from django_sse.runs import Run, Stretch

__all__ = ["Place"]

# Of events that are known from one group and still to come in another. One whose publisher died
# between the two stays: it must not stay for ever. The id has room for so many.
_MAX_AHEAD = 500


class Place:
    """
    The positions of one reader, or of all the readers of an audience, and the id that tells them.

    An event that was published to several of the reader's groups has an entry in each of their
    histories. It is read at the first of them that is reached, and passed over at the others.
    Those that are still to be reached are a part of the place, and of the id.
    """

    __slots__ = ("_ahead", "_id_line", "_loose", "_records", "positions")

    def __init__(
        self, positions: Mapping[str, Position], ahead: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        # By name: the ids of one place are the same text, whoever makes them.
        self.positions = dict(sorted(positions.items()))
        self._records = {group: record(group, here) for group, here in self.positions.items()}
        # By the event's mark: the groups in which it is to be passed over.
        self._ahead: dict[str, frozenset[str]] = dict(ahead or {})
        # The same for events that are in no history. No id tells of them.
        self._loose: dict[str, frozenset[str]] = {}
        self._id_line: bytes | None = None

    def copy(self) -> "Place":
        """Return a place of its own that is the same by now."""
        place = Place.__new__(Place)
        place.positions, place._records = self.positions.copy(), self._records.copy()
        place._ahead, place._loose = self._ahead.copy(), self._loose.copy()
        place._id_line = self._id_line
        return place

    def moved(self, positions: Mapping[str, Position]) -> "Place":
        """Return the place of a reader of the groups of *positions*, who was here before."""
        here = {group: self.positions.get(group, new) for group, new in positions.items()}
        return Place(here, _within(self._ahead, here))

    def knowing(self, other: "Place") -> "Place":
        """Return the same place of a reader who passes over what *other* does, of histories."""
        place = self.copy()
        place._ahead, place._id_line = other._ahead.copy(), None
        return place

    def merge(self, other: "Place", groups: Collection[str]) -> None:
        """Also pass over in *groups* what *other* does: the reader has come from there."""
        for known, added in ((self._ahead, other._ahead), (self._loose, other._loose)):
            for mark, passed in _within(added, groups).items():
                known[mark] = passed | known.get(mark, frozenset())
                self._id_line = None

    def passes_over_as(self, other: "Place", groups: Collection[str]) -> bool:
        """Tell whether what is passed over in *groups* is the same here and at *other*."""
        return all(
            known == others or _within(known, groups) == _within(others, groups)
            for known, others in ((self._ahead, other._ahead), (self._loose, other._loose))
        )

    def is_ahead(self, delivery: Delivery) -> bool:
        """Tell whether *delivery* is known already, from another of its groups."""
        return delivery.group in self._ahead.get(delivery.mark, ())

    def take(self, delivery: Delivery, groups: Iterable[str]) -> bool:
        """
        Go on to behind *delivery*; return whether it is new to a reader of *groups*.

        The caller sees to the order.
        """
        if delivery.number is not None:
            self.positions[delivery.group] = delivery.position
            self._records[delivery.group] = delivery.record
            self._id_line = None
        if delivery.is_reset:
            self._forget_ahead(delivery.group)
        if len(delivery.groups) < 2:
            return True
        known = self._loose if delivery.number is None else self._ahead
        rest = known.pop(delivery.mark, None)
        is_new = rest is None or delivery.group not in rest
        if rest is None or is_new:
            rest = frozenset(groups)
        if rest := rest.intersection(delivery.groups) - {delivery.group}:
            known[delivery.mark] = rest
            if len(known) > _MAX_AHEAD:
                del known[next(iter(known))]
        return is_new

    def go_through(self, run: Run, groups: Iterable[str]) -> Stretch | None:
        """Go on to behind *run*; return it with the ids of a reader of *groups*, if it is new."""
        if not self.take(run.deliveries[-1], groups):
            return None
        if not run.has_history:
            return Stretch(run)
        before, _, behind = self.id_line.partition(self._records[run.group])
        return Stretch(run, before, behind)

    def _forget_ahead(self, group: str) -> None:
        # What was to be passed over there is lost; should it be stored anew, some have missed it.
        ahead = {mark: groups - {group} for mark, groups in self._ahead.items()}
        self._ahead = {mark: groups for mark, groups in ahead.items() if groups}

    @property
    def id(self) -> str:
        """What the client sends back to go on from here. See positions.encode()."""
        return join(self._records, self._ahead).decode()

    @property
    def id_line(self) -> bytes:
        """The id as a line of an event; nothing where no group has a history."""
        if self._id_line is None:
            id = join(self._records, self._ahead)
            self._id_line = b"id: %b\n" % id if self.positions else b""
        return self._id_line


def _within(
    known: Mapping[str, frozenset[str]], groups: Collection[str]
) -> dict[str, frozenset[str]]:
    """Return of *known*, the groups to pass an event over in, what concerns *groups*."""
    found = {mark: among.intersection(groups) for mark, among in known.items()}
    return {mark: among for mark, among in found.items() if among}
