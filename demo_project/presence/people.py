"""People, as pages show them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model

HUES = 6  # as many as the stylesheet has


class Person(NamedTuple):
    """A user with a name, two letters and a colour; whoever reads the page is marked."""

    pk: str
    name: str
    initials: str
    hue: int
    is_reader: bool


def people_of(keys: Iterable[str], reader: Any) -> list[Person]:
    """Return the users with these primary keys, in this order."""
    users = {str(user.pk): user for user in get_user_model().objects.filter(pk__in=keys)}
    return [_person(users[key], reader) for key in keys if key in users]


def with_reader(keys: Iterable[str], reader: Any) -> list[str]:
    """Return *keys* with that of the reader, if they are signed in, each once."""
    return list(dict.fromkeys([*keys, *([str(reader.pk)] if reader.is_authenticated else [])]))


def _person(user: Any, reader: Any) -> Person:
    name = user.get_full_name() or user.get_username()
    first, *others = name.split()
    initials = first[0] + others[-1][0] if others else first[:2]
    return Person(str(user.pk), name, initials.upper(), user.pk % HUES, user == reader)
