"""What a view's functions are called with."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import FieldError, ObjectDoesNotExist, ValidationError
from django.db.models import Model
from django.http import Http404, HttpRequest

from django_sse.calls import call

__all__ = ["ModelArguments", "call_with_request", "check_lookups"]


async def call_with_request(
    function: Callable[..., Any], request: HttpRequest, kwargs: Mapping[str, Any]
) -> Any:
    """Call *function*, sync or async, with the request and those of *kwargs* that it names."""
    return await call(function, request, **_named(function, kwargs))


def _named(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(kwargs)
    names = [parameter.name for parameter in parameters][1:]  # The first one is the request.
    return {name: kwargs[name] for name in names if name in kwargs}


def check_lookups(view: Callable[..., Any], lookups: Mapping[str, str]) -> None:
    """Raise ValueError if *lookups* names a parameter that *view* does not have."""
    parameters = inspect.signature(view).parameters
    for name in lookups:
        if name not in parameters:
            raise ValueError(
                f"lookups names {name!r}, which is no parameter of {view.__qualname__}();"
                f" its parameters are {', '.join(parameters)}."
            )


class ModelArguments:
    """The parameters of a view whose type is a model: their URL argument names an instance."""

    def __init__(self, view: Callable[..., Any], lookups: Mapping[str, str]) -> None:
        self._view = view
        self._lookups = lookups

    @functools.cached_property
    def _models(self) -> dict[str, type[Model]]:
        # Not when the view is decorated: its module may name models that are not loaded then.
        found = {}
        for name, annotation in inspect.get_annotations(self._view).items():
            if isinstance(annotation, str):
                annotation = _evaluate(annotation, self._view)
            if isinstance(annotation, type) and issubclass(annotation, Model):
                found[name] = annotation
        return found

    async def resolve(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return *kwargs* with instances in place of the arguments that name them.

        Raises:
            Http404: If there is no such instance, or the argument cannot name one.
        """
        resolved = dict(kwargs)
        for name, model in self._models.items():
            if name in kwargs:
                resolved[name] = await self._get(
                    model, self._lookups.get(name, "pk"), kwargs[name]
                )
        return resolved

    async def _get(self, model: type[Model], lookup: str, value: Any) -> Model:
        try:
            return await model._default_manager.aget(**{lookup: value})
        except FieldError as error:
            raise FieldError(f"lookups names no field of {model.__name__}: {error}") from error
        except (ObjectDoesNotExist, ValueError, TypeError, ValidationError) as error:
            raise Http404(f"There is no {model.__name__} with {lookup}={value!r}.") from error


def _evaluate(annotation: str, view: Callable[..., Any]) -> object:
    # "from __future__ import annotations" leaves text.
    try:
        return eval(annotation, inspect.unwrap(view).__globals__)
    except Exception:
        return None  # What only type checkers can read, or know, names no model for us.
