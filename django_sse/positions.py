"""Where a reader is in the histories of its groups, and the event ids that say so."""

import base64
import functools
import itertools
import os
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from django.utils.crypto import salted_hmac

from django_sse.conf import get_secret_keys

__all__ = [
    "START",
    "LastEventId",
    "Position",
    "decode",
    "encode",
    "join",
    "new_mark",
    "record",
]


class Position(NamedTuple):
    """
    The place behind one event in the history of a group.

    Attributes:
        number: The event's number in the group; the first event has 1.
        mark: The event's own mark. A history that was lost and begun anew gives a number twice,
            and the mark tells the two events apart.
    """

    number: int
    mark: str


#: The place before the first event of a group.
START = Position(0, "--------")

# To ask the system for randomness takes as long as all else that a mark needs together.
_MARKS_AT_ONCE = 128
_marks: list[str] = []
os.register_at_fork(after_in_child=_marks.clear)  # The parent goes on with them.

_TAG_LENGTH = 6
# A browser sends the id back in one header, of which servers take some 8 KB at most.
_MAX_LENGTH = 8_000
_RECORD = re.compile(r"(?P<tag>[\w-]{6})(?P<mark>[\w-]{8})(?P<number>[0-9a-f]{1,15})", re.ASCII)
_AHEAD = re.compile(r"~(?P<mark>[\w-]{8})(?P<groups>[0-9a-f]{1,250})", re.ASCII)


def new_mark() -> str:
    """Return a mark that no other event has: 48 random bits, as 8 characters."""
    try:
        return _marks.pop()
    except IndexError:
        text = secrets.token_urlsafe(6 * _MARKS_AT_ONCE)
        _marks.extend(text[at : at + 8] for at in range(8, len(text), 8))
        return text[:8]


class LastEventId:
    """What an id says: see encode()."""

    __slots__ = ("_ahead", "_positions")

    def __init__(
        self, positions: Mapping[str, Position], ahead: Mapping[str, frozenset[str]]
    ) -> None:
        # Both name the groups by their tags.
        self._positions = positions
        self._ahead = ahead

    def position(self, group: str) -> Position | None:
        """Return how far the client has come in *group*; None if the id knows nothing of it."""
        tag = self._tag_of(group)
        return None if tag is None else self._positions[tag]

    def ahead(self, groups: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the marks of events that are to be passed over, each with those of *groups*."""
        if not self._ahead:
            return {}
        tags = {group: self._tag_of(group) for group in groups}
        found = {
            mark: frozenset(group for group, tag in tags.items() if tag in among)
            for mark, among in self._ahead.items()
        }
        return {mark: among for mark, among in found.items() if among}

    def _tag_of(self, group: str) -> str | None:
        tags = (_tag(secret, group) for secret in get_secret_keys())
        return next((tag for tag in tags if tag in self._positions), None)


def encode(
    positions: Mapping[str, Position], ahead: Mapping[str, Collection[str]] | None = None
) -> str:
    """
    Return the id of a client that has come to *positions*, one for each of its groups.

    It shows no group's name, but a short tag of it, keyed with ``SECRET_KEY``. *ahead* are the
    marks of events that the client has from one of their groups, each with those of the groups in
    which it is still to come.
    """
    records = {group: record(group, position) for group, position in positions.items()}
    return join(records, ahead or {}).decode()


def join(records: Mapping[str, bytes], ahead: Mapping[str, Collection[str]]) -> bytes:
    """
    Return the id that consists of *records*, see record(), and *ahead*, see encode().

    Of *ahead*, the last are told that it has room for.
    """
    parts = list(records.values())
    if ahead:
        # A group is told by its record's place in the id: the first is the lowest bit.
        bits = {group: 1 << index for index, group in enumerate(records)}
        room = _MAX_LENGTH - sum(len(part) + 1 for part in parts)
        fit = room // (len("~.") + len(START.mark) + len(records) // 4 + 1)
        for mark, groups in itertools.islice(ahead.items(), max(0, len(ahead) - fit), None):
            among = sum(bits.get(group, 0) for group in groups)
            parts.append(f"~{mark}{among:x}".encode())
    return b".".join(parts)


def record(group: str, position: Position) -> bytes:
    """Return the part of an id that tells the *position* in one *group*."""
    return f"{_tag(get_secret_keys()[0], group)}{position.mark}{position.number:x}".encode()


def decode(text: str) -> LastEventId | None:
    """Return what the id *text* says; None if it was not made by encode()."""
    if len(text) > _MAX_LENGTH:
        return None
    positions: dict[str, Position] = {}
    ahead: dict[str, frozenset[str]] = {}
    for part in text.split("."):
        if found := _RECORD.fullmatch(part):
            positions[found["tag"]] = Position(int(found["number"], 16), found["mark"])
        elif found := _AHEAD.fullmatch(part):
            bits = int(found["groups"], 16)
            ahead[found["mark"]] = frozenset(
                tag for index, tag in enumerate(positions) if bits & 1 << index
            )
        else:
            return None
    return LastEventId(positions, ahead)


@functools.lru_cache(maxsize=16_384)
def _tag(secret: str | bytes, group: str) -> str:
    digest = salted_hmac("django_sse.positions", group, secret=secret, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest)[:_TAG_LENGTH].decode()
