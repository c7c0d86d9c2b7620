"""Names of groups: from any string a project has to what every channel layer takes."""

import hashlib
import re
from collections.abc import Iterable

from django.utils.functional import Promise

from django_sse.conf import get_settings
from django_sse.exceptions import InvalidGroup

__all__ = ["BROADCAST", "WATCHERS", "check_groups", "check_names", "layer_group", "split_groups"]

#: The group of all streams: the empty name, which no other group can have.
BROADCAST = ""
#: The group of those who watch all workers. A lone surrogate is no name that a project can use.
WATCHERS = "\udcff"

_OWN = {BROADCAST: "sse.all", WATCHERS: "sse.watchers"}

# Channels allows fewer than 100 of these characters. Shorter names stay readable in Redis.
_PLAIN = re.compile(r"[a-zA-Z0-9_.-]{1,80}")


def check_groups(groups: str | Iterable[str]) -> tuple[str, ...]:
    """
    Return *groups*, one name or several, as a tuple without repetitions.

    Raises:
        InvalidGroup: If one is no name, see check_names(), or there are more than
            ``MAX_GROUPS``.
    """
    unique = check_names(groups)
    limit = get_settings().max_groups
    if len(unique) > limit:
        raise InvalidGroup(
            f"{len(unique)} groups are more than DJANGO_SSE['MAX_GROUPS'] = {limit}; use one"
            " group for all of them, or raise the limit."
        )
    return unique


def check_names(groups: str | Iterable[str]) -> tuple[str, ...]:
    """
    Return *groups* as check_groups() does, with no limit to their number.

    Raises:
        InvalidGroup: If one is not a string, is empty or holds a lone surrogate.
    """
    if isinstance(groups, str):
        _check_name(groups)
        return (groups,)
    # Bytes and lazy strings would fall apart into their characters.
    if not isinstance(groups, Iterable) or isinstance(groups, bytes | Promise):
        raise InvalidGroup(f"Group {groups!r} is a {type(groups).__name__}; pass a string.")
    names = tuple(groups)
    for name in names:
        _check_name(name)
    return tuple(dict.fromkeys(names))


def split_groups(text: str) -> list[str]:
    """Return the names that *text* has between its commas, as templates and URLs write them."""
    return [name.strip() for name in text.split(",")]


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidGroup(
            f"Group {name!r} must be a string of at least one character; for a model"
            " instance, name it, as in f'order.{order.pk}'."
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        # The event carries the name, and a layer that writes UTF-8 would lose the event.
        raise InvalidGroup(
            f"Group {name!r} holds a lone surrogate, which UTF-8 cannot carry; replace it."
        ) from error


def layer_group(name: str) -> str:
    """
    Return the channel layer's name for the group *name*: itself where it can be, else a digest.

    The two kinds have prefixes of their own, so that no name can pass for another's digest.
    """
    if name in _OWN:
        return _OWN[name]
    if _PLAIN.fullmatch(name):
        # Joined, not formatted: an enum of strings formats as its name.
        return "sse.g." + name
    return f"sse.h.{hashlib.sha256(name.encode()).hexdigest()}"
