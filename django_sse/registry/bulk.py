"""
Writing many rows by one statement.

None of it sends Django's signals: a project's receiver for all models, such as an audit log's, is
not to be called for the rows of the registry.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

from django.db import connections, models

__all__ = ["delete", "insert", "upsert"]

# PostgreSQL takes 65,535 parameters, and a connection has thirteen.
_ROWS_AT_ONCE = 5000


def insert(alias: str, row: models.Model) -> None:
    """Insert *row*; raises IntegrityError if it is there."""
    type(row)._base_manager.using(alias).bulk_create([row])


def delete(rows: "models.QuerySet[Any]") -> int:
    """Delete *rows*, on which nothing hangs, and return how many there were."""
    # delete() would load them, where somebody listens to the signals of all models.
    count: int = rows._raw_delete(rows.db)
    return count


def upsert(alias: str, rows: Sequence[models.Model], changing: Collection[str] = ()) -> None:
    """Insert *rows* of one model; those that are there have their fields *changing* updated."""
    connection = connections[alias]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        piece = rows[start : start + _ROWS_AT_ONCE]
        if connection.vendor == "sqlite":
            _upsert_in_sqlite(connection, piece, changing)
            continue
        options: dict[str, Any] = {}
        if changing:
            options = {"update_conflicts": True, "update_fields": list(changing)}
            if connection.features.supports_update_conflicts_with_target:
                options["unique_fields"] = ["pk"]
        type(piece[0])._base_manager.using(alias).bulk_create(piece, **options)


def _upsert_in_sqlite(
    connection: Any, rows: Sequence[models.Model], changing: Collection[str]
) -> None:
    # Of bulk_create() Django 5.2 makes a statement for every 999 values.
    meta, quote = type(rows[0])._meta, connection.ops.quote_name
    fields = [field for field in meta.concrete_fields if not isinstance(field, models.AutoField)]
    columns = ", ".join(quote(field.column) for field in fields)
    values = ", ".join(f"json_extract(value, '$[{number}]')" for number in range(len(fields)))
    conflict = ""
    if changing:
        updated = ", ".join(
            f"{quote(name)} = excluded.{quote(name)}"
            for name in (meta.get_field(name).column for name in changing)  # type: ignore[union-attr]
        )
        conflict = f" ON CONFLICT ({quote(meta.pk.column)}) DO UPDATE SET {updated}"
    given = [
        [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            # "WHERE true" keeps SQLite from taking ON CONFLICT for a join's.
            f"INSERT INTO {quote(meta.db_table)} ({columns})"
            f" SELECT {values} FROM json_each(%s) WHERE true{conflict}",
            [json.dumps(given)],
        )
