"""Where a client wants to begin in the groups of its stream."""

from collections.abc import Mapping, Sequence
from typing import Literal

from django_sse.following import Following
from django_sse.places import Place
from django_sse.positions import LastEventId, Position, decode
from django_sse.reasons import ResetReason

__all__ = ["Resumption", "Start", "check_start"]

#: Where a client without a last event id begins: with what is new, with all that is kept, or with
#: so many past events.
Start = Literal["new", "all"] | int


def check_start(start: object) -> None:
    """Raise ValueError unless *start* says where a client begins."""
    is_number = isinstance(start, int) and not isinstance(start, bool) and start >= 0
    if start not in ("new", "all") and not is_number:
        raise ValueError(
            f"start={start!r} must be 'new', 'all', or a number of past events, 0 or more."
        )


class Resumption:
    """What a client's last event id, or else *start*, says of each group."""

    __slots__ = ("_id", "_is_known", "_is_malformed", "_is_told", "_start")

    def __init__(self, last_event_id: str | None, start: Start = "new") -> None:
        self._id: LastEventId | None = decode(last_event_id) if last_event_id else None
        self._is_malformed = bool(last_event_id) and self._id is None
        self._is_known = False
        self._is_told = False
        self._start = start

    @property
    def is_plain(self) -> bool:
        """Whether the client simply begins with what is new."""
        return self._id is None and not self._is_malformed and self._start in ("new", 0)

    def take_reset(self) -> ResetReason | None:
        """Return, once, why the client has to be told that its last event id is of no use."""
        if self._is_told or (self._id is None and not self._is_malformed):
            return None
        self._is_told = True
        if self._is_malformed:
            return ResetReason.MALFORMED
        return None if self._is_known else ResetReason.UNKNOWN

    async def positions(self, following: Following, groups: Sequence[str]) -> dict[str, Position]:
        """
        Return where to begin in those of *groups* that do not begin with what is new.

        Raises:
            StoreUnavailable: If the store does not tell.
        """
        if self._id is not None:
            found = {group: self._id.position(group) for group in groups}
            self._is_known = self._is_known or any(found.values())
            return {group: position for group, position in found.items() if position}
        if self._is_malformed or self._start in ("new", 0):
            return {}
        back = None if self._start == "all" else int(self._start)
        return await following.past(groups, back)

    def place(self, here: Place, positions: Mapping[str, Position]) -> Place:
        """Return the place of a reader who is *here*, but at *positions* in some groups."""
        ahead = self._id.ahead(here.positions) if self._id is not None else {}
        place = Place({**here.positions, **positions}, ahead)
        place.merge(here, here.positions.keys() - positions.keys())
        return place
