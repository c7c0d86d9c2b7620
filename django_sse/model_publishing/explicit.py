"""Telling of rows that were changed without a signal."""

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.db import router, transaction
from django.db.models import Model, QuerySet

from django_sse.model_publishing.rows import publish_row

if TYPE_CHECKING:
    from django_sse.model_publishing.publishers import ModelPublisher

__all__ = ["publish_rows"]

# How many rows are read at once.
_CHUNK_ROWS = 500


def publish_rows(
    publishers: Iterable["ModelPublisher"], queryset: QuerySet[Any], change: str
) -> None:
    """Tell of *change* to each row of *queryset*, after the commit. See ModelPublisher.publish."""
    publishers = list(publishers)
    if change == "deleted":
        told = list(_doomed(publishers, queryset))
        step = functools.partial(_tell_each, told, change)
    else:
        step = functools.partial(_tell_all, publishers, queryset.all(), change)
    # The transaction that counts is the one in which the rows were written.
    transaction.on_commit(step, using=_alias(queryset))


def _alias(queryset: QuerySet[Any]) -> str:
    # Not its alias to read from: with a replica that is another.
    chosen: str | None = queryset._db  # type: ignore[attr-defined]
    return chosen or router.db_for_write(queryset.model)


def _doomed(
    publishers: Iterable["ModelPublisher"], queryset: QuerySet[Any]
) -> Iterator[tuple["ModelPublisher", Model, list[str]]]:
    for instance in queryset.iterator(chunk_size=_CHUNK_ROWS):
        for publisher in publishers:
            yield publisher, instance, publisher.groups_of(instance)


def _tell_each(told: Iterable[tuple["ModelPublisher", Model, list[str]]], change: str) -> None:
    for publisher, instance, groups in told:
        if publisher.live:
            publish_row(instance)
        publisher.tell(instance, change, groups)


def _tell_all(
    publishers: Iterable["ModelPublisher"], queryset: QuerySet[Any], change: str
) -> None:
    for instance in queryset.iterator(chunk_size=_CHUNK_ROWS):
        for publisher in publishers:
            if publisher.live:
                publish_row(instance)
            publisher.tell(instance, change)
