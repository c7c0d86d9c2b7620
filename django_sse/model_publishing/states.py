"""What a row was when it was loaded, and what it was when it was saved."""

import copy
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.db import models
from django.db.models import Model

__all__ = ["State", "as_of", "columns", "is_expression", "loaded", "remember", "state_of"]

#: The values of a row's fields, by attname; those that were deferred are not in it.
State = Mapping[str, Any]

_ATTRIBUTE = "django_sse_loaded"


@functools.cache
def _copiers(model: type[Model]) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """Return the attname of each column, and what copies its values if they change in place."""
    return tuple((field.attname, _copier(field)) for field in model._meta.concrete_fields)


def _copier(field: "models.Field[Any, Any]") -> Callable[[Any], Any] | None:
    if isinstance(field, models.FileField):
        return _file_name
    is_of_django = type(field).__module__.startswith("django.db.models")
    return None if is_of_django and not isinstance(field, models.JSONField) else copy.deepcopy


def _file_name(value: Any) -> Any:
    return getattr(value, "name", value)


def state_of(instance: Model, only: Collection[str] | None = None) -> State:
    """Return the values that *instance* has now; of *only* the fields that are named, if given."""
    values = instance.__dict__
    return {
        name: values[name] if copier is None else copier(values[name])
        for name, copier in _copiers(type(instance))
        if name in values and (only is None or name in only)
    }


def columns(model: type[Model], names: Collection[str]) -> set[str]:
    """Return the attnames of the fields *names*, which may be attnames, and of the key."""
    return {
        field.attname
        for field in model._meta.concrete_fields
        if field.primary_key or field.name in names or field.attname in names
    }


def remember(instance: Model, state: State | None) -> None:
    """Note that the row is known to be in *state*; None if nothing is known of it."""
    setattr(instance._state, _ATTRIBUTE, state)


def loaded(instance: Model) -> State | None:
    """Return what remember() has noted last, unless it is of an instance that was never saved."""
    return None if instance._state.adding else getattr(instance._state, _ATTRIBUTE, None)


def is_expression(value: object) -> bool:
    """Tell whether only the database knows what the value is: ``F("total") + 1``."""
    return hasattr(value, "resolve_expression")


def as_of(instance: Model, state: State) -> Model:
    """
    Return *instance* if it is in *state*, else a copy that is; related objects come along.

    What the state does not know is deferred in the copy: it is read when it is asked for.
    """
    now = state_of(instance)
    if now == state:
        return instance
    twin = type(instance).__new__(type(instance))
    rest = {name: value for name, value in instance.__dict__.items() if name not in now}
    twin.__dict__.update({**rest, **state})
    twin._state = copy.copy(instance._state)
    twin._state.fields_cache = {
        name: related
        for name, related in instance._state.fields_cache.items()
        if all(now.get(column) == state.get(column) for column in _columns_of(instance, name))
    }
    return twin


def _columns_of(instance: Model, relation: str) -> list[str]:
    return [field.attname for field in instance._meta.concrete_fields if field.name == relation]
