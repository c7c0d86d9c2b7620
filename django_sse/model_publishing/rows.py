"""Rows: the news of those that changed, by which who follows querysets looks at them again."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable

from django_sse.publishing import publish

__all__ = ["RowNotice", "changed_rows", "check_rows", "publish_row", "row_notices", "rows_group"]


class RowNotice(NamedTuple):
    """The news of one row, for those who follow one model."""

    model: type[Model]
    key: str

    def publish(self) -> None:
        """Publish them now."""
        # The newest of a key is enough: whoever follows reads the row itself.
        publish(rows_group(self.model), self.key, key=self.key, on_commit=False)


def check_rows(queryset: object, function: str) -> QuerySet[Any]:
    """
    Return *queryset* if it gives instances; *function* is what was given it.

    Raises:
        TypeError: If it does not.
    """
    if not isinstance(queryset, QuerySet):
        raise TypeError(
            f"{function} was given {queryset!r:.200}; it takes a QuerySet, such as"
            " Order.objects.filter(status='open')."
        )
    if not issubclass(queryset._iterable_class, ModelIterable):
        raise TypeError(
            f"{function} was given a queryset of values() or values_list(), whose rows are no"
            " instances. Leave that out, and say with the publisher's fields what is sent."
        )
    return queryset


def rows_group(model: type[Model]) -> str:
    """Return the group of the news of *model*; a proxy's rows are those of its model."""
    return f"django_sse.rows.{_concrete(model)._meta.label_lower}"


def publish_row(instance: Model, model: type[Model]) -> None:
    """
    Tell that the row of *instance* has changed, is new, or is gone; the commit is over.

    It is told to who follows *model*, of which the instance is, and the models between the two.
    """
    for notice in row_notices(instance, model):
        notice.publish()


def row_notices(instance: Model, model: type[Model]) -> Iterator[RowNotice]:
    """Yield what publish_row() tells."""
    for each in type(instance).__mro__:
        if issubclass(each, _concrete(model)) and _concrete(each) is each:
            yield RowNotice(each, each._meta.pk.value_to_string(instance))


def changed_rows(model: type[Model], data: Iterable[str]) -> set[Any]:
    """Return the primary keys that *data*, of events of rows_group(), tells of."""
    keys = (model._meta.pk.to_python(key) for key in data)
    return {tuple(key) if isinstance(key, list) else key for key in keys}


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model
