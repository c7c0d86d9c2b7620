"""Telling of rows that were changed without a signal."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.db import router, transaction
from django.db.models import Model, QuerySet

from django_sse.model_publishing.errors import errors_logged
from django_sse.model_publishing.rows import publish_row

if TYPE_CHECKING:
    from django_sse.model_publishing.publishers import ModelPublisher

__all__ = ["publish_rows"]

# How many rows are read at once.
_CHUNK_ROWS = 500

Told = Iterable[tuple["ModelPublisher", Model, list[str] | None]]


def publish_rows(
    publishers: Iterable["ModelPublisher"], queryset: QuerySet[Any], change: str
) -> None:
    """Tell of *change* to each row of *queryset*, after the commit. See ModelPublisher.publish."""
    # The transaction that counts is the one in which the rows were written. With a replica to
    # read from the alias is not that of the queryset, and only there the rows are what they are.
    using = queryset._db or router.db_for_write(queryset.model)  # type: ignore[attr-defined]
    rows = queryset.using(using)
    told: Told
    if change == "deleted":
        told = [(one, row, one.groups_of(row)) for one, row in _each(publishers, rows)]
    else:
        told = ((one, row, None) for one, row in _each(publishers, rows))

    def tell() -> None:
        with errors_logged("The rows that were %s could not be read.", change):
            for publisher, row, groups in told:
                if publisher.live:
                    publish_row(row, publisher.model)
                publisher.tell(row, change, groups)

    transaction.on_commit(tell, using=using)


def _each(
    publishers: Iterable["ModelPublisher"], queryset: QuerySet[Any]
) -> Iterator[tuple["ModelPublisher", Model]]:
    for row in queryset.iterator(chunk_size=_CHUNK_ROWS):
        for publisher in publishers:
            yield publisher, row
