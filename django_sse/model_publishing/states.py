"""What a row was when it was loaded, and what it was when it was saved."""

import copy
import functools
from collections.abc import Collection, Mapping
from typing import Any

from django.db import models
from django.db.models import Model

__all__ = ["State", "as_of", "is_expression", "loaded", "remember", "state_of"]

#: The values of a row's fields, by attname; those that were deferred are not in it.
State = Mapping[str, Any]

_ATTRIBUTE = "django_sse_loaded"


@functools.cache
def _names(model: type[Model]) -> tuple[tuple[str, bool], ...]:
    """Return the attname of each column, and whether its values may change in place."""
    return tuple(
        (field.attname, isinstance(field, models.JSONField) or not _is_of_django(field))
        for field in model._meta.concrete_fields
    )


def _is_of_django(field: "models.Field[Any, Any]") -> bool:
    return type(field).__module__.startswith("django.db.models")


def state_of(instance: Model, only: Collection[str] | None = None) -> State:
    """Return the values that *instance* has now; of *only* the fields that are named, if given."""
    values = instance.__dict__
    return {
        name: copy.deepcopy(values[name]) if is_mutable else values[name]
        for name, is_mutable in _names(type(instance))
        if name in values and (only is None or name in only)
    }


def remember(instance: Model, state: State | None) -> None:
    """Note that the row is known to be in *state*; None if nothing is known of it."""
    setattr(instance._state, _ATTRIBUTE, state)


def loaded(instance: Model) -> State | None:
    """Return what remember() has noted last."""
    return getattr(instance._state, _ATTRIBUTE, None)


def is_expression(value: object) -> bool:
    """Tell whether only the database knows what the value is: ``F("total") + 1``."""
    return hasattr(value, "resolve_expression")


def as_of(instance: Model, state: State) -> Model:
    """Return *instance* if it is in *state*, else a copy that is; related objects come along."""
    values = instance.__dict__
    if all(name in values and values[name] == value for name, value in state.items()):
        return instance
    twin = type(instance).__new__(type(instance))
    twin.__dict__.update({**values, **state})
    twin._state = copy.copy(instance._state)
    twin._state.fields_cache = {
        name: related
        for name, related in instance._state.fields_cache.items()
        if not _has_changed(instance, name, state)
    }
    return twin


def _has_changed(instance: Model, relation: str, state: State) -> bool:
    names = [field.attname for field in instance._meta.concrete_fields if field.name == relation]
    return any(name in state and instance.__dict__.get(name) != state[name] for name in names)
