"""Which models publish."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.db.models.signals import class_prepared

from django_sse.model_publishing.publishers import ModelPublisher
from django_sse.model_publishing.receivers import Receivers

__all__ = ["publishers", "publishers_of", "register", "unregister"]

_P = TypeVar("_P", bound=type[ModelPublisher])

_receivers: dict[type[Model], Receivers] = {}
_publishers: list[ModelPublisher] = []


def publishers() -> list[ModelPublisher]:
    """Return all publishers, in the order of their registration."""
    return list(_publishers)


def publishers_of(model: type[Model]) -> list[ModelPublisher]:
    """Return those that tell of the rows of *model*."""
    return [publisher for publisher in _publishers if issubclass(model, publisher.model)]


@overload
def register(*models: type[Model]) -> Callable[[_P], _P]: ...
@overload
def register(model: type[Model], publisher: _P, /) -> _P: ...
def register(*models: Any) -> Any:
    """
    Let models publish: ``@register(Order)`` above a ModelPublisher, or ``register(Order, it)``.

    The publisher tells of the rows of the models, of their proxies and of models that inherit
    from them. A model may have several publishers.

    Raises:
        TypeError: If something else than model classes, and a ModelPublisher, is given.
        ImproperlyConfigured: If a model is abstract, or has this publisher already.
    """
    if models and isinstance(models[-1], type) and issubclass(models[-1], ModelPublisher):
        return _register(models[:-1], models[-1])
    return lambda publisher: _register(models, publisher)


def _register(models: tuple[type[Model], ...], publisher: _P) -> _P:
    if not (isinstance(publisher, type) and issubclass(publisher, ModelPublisher)):
        raise TypeError(
            f"register() was given {publisher!r}; it takes a subclass of ModelPublisher."
        )
    if not models:
        raise TypeError(f"register() was given no model for {publisher.__qualname__}.")
    for model in models:
        _check_model(model, publisher)
    for model in models:
        if not model._meta.swapped:
            _add(publisher(model))
    return publisher


def _check_model(model: type[Model], publisher: type[ModelPublisher]) -> None:
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise TypeError(f"register() was given {model!r}; it takes model classes.")
    if model._meta.abstract:
        raise ImproperlyConfigured(
            f"{model.__qualname__} is abstract and has no rows; register the models that inherit"
            " from it."
        )
    if any(one.model is model for one in publisher.registered):
        raise ImproperlyConfigured(
            f"{publisher.__qualname__} is registered for {model._meta.label} already."
        )


def _add(publisher: ModelPublisher) -> None:
    if not _publishers:
        class_prepared.connect(_on_model, dispatch_uid="django_sse.register")
    _publishers.append(publisher)
    type(publisher).registered.append(publisher)
    for model in {publisher.model, *_subclasses(publisher.model)}:
        _receivers_of(model).add(publisher)


def _receivers_of(model: type[Model]) -> Receivers:
    if model not in _receivers:
        _receivers[model] = Receivers(model)
    return _receivers[model]


def _subclasses(model: type[Model]) -> Iterator[type[Model]]:
    for child in model.__subclasses__():
        if not child._meta.abstract:
            yield child
        yield from _subclasses(child)


def _on_model(sender: type[Model], **kwargs: Any) -> None:
    # A model that is defined after its parent was registered.
    for publisher in publishers_of(sender):
        _receivers_of(sender).add(publisher)


def unregister(*models: type[Model], publisher: type[ModelPublisher] | None = None) -> None:
    """
    Let models publish no more; for tests.

    Args:
        models: As they were registered.
        publisher: The one to be silent; all of the models, by default.

    Raises:
        LookupError: If a model has no such publisher.
    """
    for model in models:
        found = [
            one
            for one in _publishers
            if one.model is model and (publisher is None or type(one) is publisher)
        ]
        if not found:
            name = "publisher" if publisher is None else publisher.__qualname__
            raise LookupError(f"{model._meta.label} has no {name} to be unregistered.")
        for one in found:
            _publishers.remove(one)
            type(one).registered.remove(one)
            for other in {model, *_subclasses(model)}:
                _receivers[other].remove(one)
