"""How many streams of a process each user and each address has."""

import collections

from django_sse.conf import get_settings
from django_sse.visitors import Visitor

__all__ = ["Occupancy"]


class Occupancy:
    """Counts streams from the moment that they are made, before they are in a group."""

    def __init__(self) -> None:
        self._of_user: collections.Counter[str] = collections.Counter()
        self._of_address: collections.Counter[str] = collections.Counter()

    def add(self, visitor: Visitor) -> None:
        """Count one more stream of *visitor*."""
        self._of_user[visitor.user_id] += 1
        self._of_address[visitor.address] += 1

    def discard(self, visitor: Visitor) -> None:
        """Count one less."""
        for counter, name in self._counts(visitor):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    def has_room(self, visitor: Visitor) -> bool:
        """Tell whether *visitor* may open another one; who is nobody, or nowhere, always may."""
        settings = get_settings()
        limits = (settings.max_connections_per_user, settings.max_connections_per_address)
        return not any(
            name and limit is not None and counter[name] >= limit
            for limit, (counter, name) in zip(limits, self._counts(visitor), strict=True)
        )

    def _counts(self, visitor: Visitor) -> list[tuple["collections.Counter[str]", str]]:
        return [(self._of_user, visitor.user_id), (self._of_address, visitor.address)]
