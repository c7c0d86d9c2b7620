"""Values of rows, and instances as they were."""

import copy
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.db import models
from django.db.models import Model
from django.db.models.base import ModelState
from django.utils.functional import cached_property

__all__ = ["State", "as_of", "columns", "computed", "given", "is_expression", "state_of"]

#: The values of a row's fields, by attname; those that were deferred are not in it.
State = Mapping[str, Any]


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
    """
    Return the attnames of the columns that may change as the fields *names* are written.

    Those may be attnames; to them come the keys, and what the database computes.
    """
    named = {
        field.attname
        for field in model._meta.concrete_fields
        if field.name in names or field.attname in names
    }
    return named | _keys(model) | computed(model)


@functools.cache
def _keys(model: type[Model]) -> frozenset[str]:
    # A key may be of several columns, and each table of a model that inherits has one.
    models_ = (model, *model._meta.all_parents)
    return frozenset(field.attname for one in models_ for field in one._meta.pk_fields)


@functools.cache
def computed(model: type[Model]) -> frozenset[str]:
    """Return the attnames of the columns that the database computes from others."""
    fields = model._meta.concrete_fields
    return frozenset(field.attname for field in fields if field.generated)


@functools.cache
def given(model: type[Model]) -> frozenset[str]:
    """Return the attnames of the columns that are neither keys nor computed."""
    names = frozenset(field.attname for field in model._meta.concrete_fields)
    return names - _keys(model) - computed(model)


def is_expression(value: object) -> bool:
    """Tell whether only the database knows what the value is: ``F("total") + 1``."""
    return hasattr(value, "resolve_expression")


def as_of(instance: Model, state: State, using: str) -> Model:
    """
    Return a copy of *instance* that is in *state*; related objects come along.

    What the state does not know is deferred in the copy: it is read when it is asked for. What
    was cached from other values, cached properties say, is left out.
    """
    twin = type(instance).__new__(type(instance))
    left_out = _not_copied(type(instance))
    values = twin.__dict__
    values.update(
        (name, value) for name, value in instance.__dict__.items() if name not in left_out
    )
    values.update(state)
    twin._state = ModelState()
    twin._state.__dict__.update(instance._state.__dict__, db=using, peers=())
    now = instance.__dict__
    twin._state.fields_cache = {
        name: related
        for name, related in instance._state.fields_cache.items()
        if all(now.get(one) == state.get(one) for one in _columns_of(type(instance), name))
    }
    return twin


@functools.cache
def _not_copied(model: type[Model]) -> frozenset[str]:
    cached = {
        name
        for each in model.__mro__
        for name, value in vars(each).items()
        if isinstance(value, cached_property | functools.cached_property)
    }
    columns_ = {field.attname for field in model._meta.concrete_fields}
    return frozenset(columns_ | cached | {"_state", "_prefetched_objects_cache"})


@functools.cache
def _columns_of(model: type[Model], relation: str) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields if field.name == relation]
