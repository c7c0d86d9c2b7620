"""The outbox of the database store: what is committed and waits for its number."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from django.db import connections

from django_sse.models import EnlistedEvent
from django_sse.stores.database_numbering import Addition, now

__all__ = ["Outbox"]


class Outbox:
    """The table of enlisted events in the database *alias*."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def add(self, additions: Iterable[Addition]) -> None:
        """Add rows, as part of the transaction that is open."""
        EnlistedEvent.objects.using(self._alias).bulk_create(
            EnlistedEvent(
                group_key=key,
                group_json=json.dumps(group),
                mark=mark,
                message_json=message_json,
                created_at=now(),
            )
            for group, key, mark, message_json in additions
        )

    def groups(self, keys: Sequence[str] | None) -> list[tuple[str, str]]:
        """Return the keys and names of those groups, of all or of *keys*, that have rows."""
        with connections[self._alias].cursor() as cursor:
            where = "" if keys is None else f"WHERE {_is_in(keys)}"
            cursor.execute(
                f"SELECT DISTINCT group_key, group_json FROM {self._table} {where}", keys
            )
            return [(key, json.loads(group_json)) for key, group_json in cursor.fetchall()]

    def take(self, groups: Mapping[str, str], limit: int) -> list[Addition]:
        """Remove the first rows of *groups*, whose heads are locked; return what they hold."""
        with connections[self._alias].cursor() as cursor:
            # Not FOR UPDATE: that would wait for the transactions of other publishers on MySQL.
            cursor.execute(
                f"SELECT id, group_key, mark, message_json FROM {self._table}"
                f" WHERE {_is_in(groups)} ORDER BY id LIMIT {limit:d}",
                [*groups],
            )
            rows = cursor.fetchall()
            # One by one: for many ids MySQL may go through the whole table, and then it waits for
            # every row on its way that another transaction has not committed yet.
            delete = f"DELETE FROM {self._table} WHERE id = %s"
            cursor.executemany(delete, [(row_id,) for row_id, *_ in rows])
        return [Addition(groups[key], key, mark, text) for _, key, mark, text in rows]

    @property
    def _table(self) -> str:
        return connections[self._alias].ops.quote_name(EnlistedEvent._meta.db_table)


def _is_in(keys: Collection[str]) -> str:
    return f"group_key IN ({', '.join(['%s'] * len(keys))})"
