"""Which querysets can be followed, and which of them are the same."""

from collections.abc import Hashable
from typing import Any

from django.core.exceptions import EmptyResultSet, ImproperlyConfigured
from django.db import router
from django.db.models import QuerySet

from django_sse.model_publishing import ModelPublisher
from django_sse.model_publishing.registry import publishers_of
from django_sse.model_publishing.rows import check_rows

__all__ = ["check_queryset", "identity_of", "live_publisher"]


def check_queryset(queryset: object) -> QuerySet[Any]:
    """
    Return *queryset* if its rows can be followed one by one.

    Raises:
        TypeError: If it is no queryset, or one of something else than instances.
        ValueError: If whether a row is in it depends on the other rows.
    """
    queryset = check_rows(queryset, "subscribe_queryset()")
    query = queryset.query
    if query.combinator:
        raise ValueError(
            f"A queryset that is combined by {query.combinator}() cannot be followed: it cannot"
            " be filtered any more. Combine the conditions, with Q(...) | Q(...)."
        )
    for is_so, what, fix in (
        (query.is_sliced, "that is sliced", "Filter instead, and let the page show a part."),
        (query.distinct_fields, "with distinct(<fields>)", "Filter, or use distinct() alone."),
        (_has_window(queryset), "with a window function", "Annotate without Window()."),
        (query.select_for_update, "with select_for_update()", "Leave it out."),
    ):
        if is_so:
            raise ValueError(
                f"A queryset {what} cannot be followed: each row is looked at by itself, outside"
                f" of transactions. {fix}"
            )
    return queryset


def _has_window(queryset: QuerySet[Any]) -> bool:
    annotations = queryset.query.annotations.values()
    return any(getattr(annotation, "contains_over_clause", False) for annotation in annotations)


def live_publisher(
    queryset: QuerySet[Any], chosen: type[ModelPublisher] | None = None
) -> ModelPublisher:
    """
    Return the publisher that says how the rows of *queryset* are told: *chosen*, or the first.

    Raises:
        TypeError: If *chosen* is no class of publishers.
        ImproperlyConfigured: If the model has no such one with ``live = True``.
    """
    if chosen is not None and not (
        isinstance(chosen, type) and issubclass(chosen, ModelPublisher)
    ):
        raise TypeError(f"publisher={chosen!r} must be a subclass of ModelPublisher.")
    for publisher in publishers_of(queryset.model):
        if publisher.live and (chosen is None or isinstance(publisher, chosen)):
            return publisher
    model, name = queryset.model, "a ModelPublisher" if chosen is None else chosen.__qualname__
    raise ImproperlyConfigured(
        f"The rows of {model._meta.label} cannot be followed: in an app's sse.py, register {name}"
        f" with @register({model.__name__}) and set live = True in it."
    )


def alias_of(queryset: QuerySet[Any]) -> str:
    """Return the database to read from: where the rows are written, if nothing else is said."""
    # A replica lags behind: a row is looked at as soon as its change is committed.
    chosen: str | None = queryset._db  # type: ignore[attr-defined]
    return chosen or router.db_for_write(queryset.model, **queryset._hints)  # type: ignore[attr-defined]


def identity_of(queryset: QuerySet[Any]) -> tuple[QuerySet[Any], Hashable]:
    """
    Return *queryset* as it is read, and what is equal for querysets that give the same rows.

    It may use the database: to know its version, or for a lazy object among the parameters.
    """
    queryset = queryset.using(alias_of(queryset))
    # Those of a related manager: each row would have the owner as it was at the beginning.
    queryset._known_related_objects = {}  # type: ignore[attr-defined]
    try:
        sql, params = queryset.query.get_compiler(queryset.db).as_sql()
    except EmptyResultSet:  # none(), or filter(pk__in=[])
        sql, params = "", ()
    params = tuple(_comparable(param) for param in params)
    lookups = queryset._prefetch_related_lookups  # type: ignore[attr-defined]
    # A Prefetch is equal to one with another queryset: nothing is shared by mistake.
    prefetched = tuple(name if isinstance(name, str) else object() for name in lookups)
    return queryset, (type(queryset), queryset.model, queryset.db, sql, params, prefetched)


def _comparable(value: Any) -> Hashable:
    """Return what is equal for equal values of one type; 1 and True are two."""
    if isinstance(value, list | tuple):
        return type(value), *map(_comparable, value)
    try:
        hash(value)
    except TypeError:
        return object()
    return type(value), value
