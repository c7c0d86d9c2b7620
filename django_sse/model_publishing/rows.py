"""The news of changed rows, by which processes that follow querysets look at them again."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model

from django_sse.publishing import publish

__all__ = ["changed_rows", "publish_row", "rows_group"]


def rows_group(model: type[Model]) -> str:
    """Return the group of the news of *model*; a proxy's rows are those of its model."""
    return f"django_sse.rows.{_concrete(model)._meta.label_lower}"


def publish_row(instance: Model, model: type[Model]) -> None:
    """
    Tell that the row of *instance* has changed, is new, or is gone; the commit is over.

    It is told to who follows *model*, of which the instance is, and the models between the two.
    """
    for each in type(instance).__mro__:
        if issubclass(each, _concrete(model)) and _concrete(each) is each:
            key = each._meta.pk.value_to_string(instance)
            # The newest of a key is enough: whoever follows reads the row itself.
            publish(rows_group(each), key, key=key, on_commit=False)


def changed_rows(model: type[Model], data: Iterable[str]) -> set[Any]:
    """Return the primary keys that *data*, of events of rows_group(), tells of."""
    keys = (model._meta.pk.to_python(key) for key in data)
    return {tuple(key) if isinstance(key, list) else key for key in keys}


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model
