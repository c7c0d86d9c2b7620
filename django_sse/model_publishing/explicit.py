"""Telling of rows that were changed without a signal."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.models import Model, QuerySet

from django_sse.model_publishing.errors import errors_logged
from django_sse.model_publishing.rows import publish_row, row_notices
from django_sse.model_publishing.transactions import Write

if TYPE_CHECKING:
    from django_sse.model_publishing.publishers import Change, ModelPublisher

__all__ = ["publish_rows"]

# How many rows are read at once.
_CHUNK_ROWS = 500


def publish_rows(
    publishers: Iterable["ModelPublisher"], queryset: QuerySet[Any], change: "Change"
) -> None:
    """Tell of *change* to each row of *queryset*, after the commit. See ModelPublisher.publish."""
    # The transaction that counts is the one in which the rows were written. With a replica to
    # read from the alias is not that of the queryset, and only there the rows are what they are.
    using = queryset._db or router.db_for_write(queryset.model)  # type: ignore[attr-defined]
    rows = queryset.using(using).iterator(chunk_size=_CHUNK_ROWS)
    if change == "deleted":  # Afterwards they cannot be read.
        told = iter([*_notices(publishers, rows)])
    else:
        told = _tellings(publishers, rows, change)
    _Rows(using, change, told).enlist()


def _notices(
    publishers: Iterable["ModelPublisher"], rows: Iterable[Model]
) -> Iterator[Callable[[], None]]:
    for row in rows:
        for publisher in publishers:
            if publisher.live:
                yield from (notice.publish for notice in row_notices(row, publisher.model))
            if notice := publisher.notice(row, "deleted"):
                yield notice.publish


def _tellings(
    publishers: Iterable["ModelPublisher"], rows: Iterable[Model], change: "Change"
) -> Iterator[Callable[[], None]]:
    for row in rows:
        for publisher in publishers:
            if publisher.live:
                yield functools.partial(publish_row, row, publisher.model)
            yield functools.partial(publisher.tell, row, change)


class _Rows(Write):
    """What is told of some rows after the commit."""

    def __init__(self, using: str, change: str, told: Iterator[Callable[[], None]]) -> None:
        super().__init__(using)
        self._change, self._told = change, told

    def __call__(self) -> None:
        super().__call__()
        with errors_logged("The rows that were %s could not be read.", self._change):
            for tell in self._told:
                with errors_logged("It could not be told that a row was %s.", self._change):
                    tell()
