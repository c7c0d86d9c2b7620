"""Times in which models do not publish."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.db.models import Model

__all__ = ["is_suppressed", "suppress_publishing"]

_F = TypeVar("_F", bound=Callable[..., Any])

_suppressed: ContextVar[tuple[type[Model], ...]] = ContextVar("django_sse_suppressed", default=())


def is_suppressed(model: type[Model]) -> bool:
    """Tell whether what happens to rows of *model* here is not to be told."""
    return any(issubclass(model, suppressed) for suppressed in _suppressed.get())


class suppress_publishing(AbstractContextManager[None]):
    """
    Let models publish nothing of what is done in this block, or in the decorated function.

    It counts when a row is saved, not when the transaction ends, and for this thread or task
    only. What publishes explicitly, publish() or a publisher's own, does. Blocks may be nested.

    Args:
        models: Those to be silent, with their subclasses; none for all.

    Raises:
        TypeError: If one is no model class.
    """

    def __init__(self, *models: type[Model]) -> None:
        for model in models:
            if not (isinstance(model, type) and issubclass(model, Model)):
                raise TypeError(
                    f"suppress_publishing() was given {model!r}; it takes model classes, or"
                    " nothing for all models. As a decorator it is called: @suppress_publishing()."
                )
        self._models = models or (Model,)
        self._tokens: list[Token[tuple[type[Model], ...]]] = []

    def __enter__(self) -> None:
        self._tokens.append(_suppressed.set((*_suppressed.get(), *self._models)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _suppressed.reset(self._tokens.pop())

    def __call__(self, function: _F) -> _F:
        """Decorate *function*, sync or async."""
        models = self._models

        if iscoroutinefunction(function):

            @functools.wraps(function)
            async def acall(*args: Any, **kwargs: Any) -> Any:
                with suppress_publishing(*models):
                    return await function(*args, **kwargs)

            return acall  # type: ignore[return-value]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with suppress_publishing(*models):
                return function(*args, **kwargs)

        return call  # type: ignore[return-value]
