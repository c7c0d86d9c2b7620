"""What is read of the rows of a model, of which Django sends no signal that names the database."""

import functools
from collections.abc import Callable
from typing import Any

from django.db.models import Model

from django_sse.model_publishing.errors import errors_logged
from django_sse.model_publishing.knowledge import remember, remember_some
from django_sse.model_publishing.states import columns, state_of

__all__ = ["watch_reading"]


def watch_reading(model: type[Model]) -> Callable[[], None]:
    """
    Let instances of *model* remember what is read into them; return how to stop that.

    They are read by from_db(), and refresh_from_db() reads deferred fields, too.
    """
    forget = [
        _replace(model, "from_db", lambda original: classmethod(_loading(original))),
        _replace(model, "refresh_from_db", _refreshing),
    ]

    def forget_all() -> None:
        for each in forget:
            each()

    return forget_all


def _replace(model: type[Model], name: str, wrap: Callable[[Any], Any]) -> Callable[[], None]:
    own = model.__dict__.get(name)
    found = getattr(model, name)
    # Not that of a parent that publishes, too: then each row would be looked at twice.
    original = getattr(found, "__func__", found)
    setattr(model, name, wrap(getattr(original, "_django_sse_original", original)))

    def forget() -> None:
        if own is None:
            delattr(model, name)
        else:
            setattr(model, name, own)

    return forget


def _loading(original: Any) -> Any:
    @functools.wraps(original)
    def from_db(cls: type[Model], *args: Any, **kwargs: Any) -> Model:
        instance: Model = original(cls, *args, **kwargs)
        with errors_logged("What was read of %s is not known.", cls):
            if (using := instance._state.db) is not None:
                remember(instance, state_of(instance), using)
        return instance

    from_db._django_sse_original = original  # type: ignore[attr-defined]
    return from_db


def _refreshing(original: Any) -> Any:
    @functools.wraps(original)
    def refresh_from_db(self: Model, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        with errors_logged("What was read of %s is not known.", type(self)):
            fields: Any = kwargs.get("fields", args[1] if len(args) > 1 else None)
            using = self._state.db
            if using is not None and fields is None:
                remember(self, state_of(self), using)
            elif using is not None:
                remember_some(self, state_of(self, columns(type(self), fields)), using)

    refresh_from_db._django_sse_original = original  # type: ignore[attr-defined]
    return refresh_from_db
