"""What was told, as a page gets it; and what did not happen."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import transaction

from django_sse import ServerSentEvent

__all__ = ["Told", "changes", "read", "undone"]


class Told(NamedTuple):
    """One event."""

    event: str
    data: Any
    groups: list[str]
    key: str | None = None


def read(groups: Any, data: Any, *, event: str = "row", key: Any = None, **options: Any) -> Told:
    """Return what publish() was called with as a page gets it."""
    assert options == {"on_commit": False}
    text = ServerSentEvent(data).text() or ""
    value = data if isinstance(data, str) else json.loads(text)
    return Told(event, value, [groups] if isinstance(groups, str) else list(groups), key)


def changes(told: list[Told]) -> list[tuple[str, Any]]:
    """Return the last word of each event's type, and its data; forget them."""
    found = [(one.event.rpartition(".")[2], one.data) for one in told]
    told.clear()
    return found


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """Roll the block back: it is a transaction, or a savepoint in one."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
