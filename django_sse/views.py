"""The class-based event-stream view."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import classonlymethod
from django.views import View

from django_sse.arguments import ModelArguments
from django_sse.calls import call
from django_sse.declarations import Declared, declare_groups
from django_sse.endpoints import Endpoint, run_outside_transactions
from django_sse.groups import check_groups, check_names
from django_sse.options import make_options
from django_sse.resuming import Start
from django_sse.streams import EventStream, as_event

__all__ = ["EventStreamView"]

_OPTIONS = (
    "recheck",
    "heartbeat",
    "retry",
    "max_duration",
    "allowed_origins",
    "start",
    "presence",
)


class EventStreamView(View):
    """
    A stream of the events of some groups.

    Its methods may be sync or async; a sync one may use the ORM. They find the request, its
    user and the URL's arguments in ``self.request`` and ``self.kwargs``. The attributes beside
    ``groups`` are options of event_stream().
    """

    groups: str | Sequence[str] = ()
    recheck: float | None = None
    heartbeat: float | None = None
    retry: int | None = None
    max_duration: float | None = None
    allowed_origins: Sequence[str] | None = None
    start: Start = "new"
    presence: bool = False

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        """See View.as_view(). Raises as make_options() does."""
        view = super().as_view(**initkwargs)
        # What is wrong is told here, not by the first request; a property knows more only then.
        given = {name: initkwargs.get(name, getattr(cls, name)) for name in ("groups", *_OPTIONS)}
        known = {name: value for name, value in given.items() if not isinstance(value, property)}
        known["groups"] = known.get("groups") or ()
        make_options({**known, "guard": cls.has_access})
        declare_groups(view, _declared(cls, initkwargs, known["groups"]))
        # An async view cannot run in the transaction that ATOMIC_REQUESTS opens.
        return run_outside_transactions(view)

    def get_groups(self) -> Any:
        """Return the name of the stream's group, or names. Default: ``groups``."""
        return self.groups

    def get_initial(self) -> Any:
        """
        Return what is sent first: None, or an iterable of events, sync or async.

        It is asked once the stream is in its groups: what changes after that is sent too.
        """
        return None

    def has_access(self) -> Any:
        """Return whether this request may read the stream. Default: True."""
        return True

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer with the stream."""
        given = {name: getattr(self, name) for name in _OPTIONS}

        async def guard(request: HttpRequest) -> bool:
            return bool(await self._ask("has_access"))

        endpoint = Endpoint(self._open, make_options({**given, "guard": guard}), _NO_MODELS)
        return await endpoint.respond(request, args, kwargs)

    async def _open(
        self, request: HttpRequest, stream: EventStream, *args: Any, **kwargs: Any
    ) -> None:
        groups = await self._ask("get_groups")
        if not groups:
            raise ImproperlyConfigured(
                f"{type(self).__name__} has no groups; set groups, or override get_groups()."
            )
        names = (groups,) if isinstance(groups, str) else groups
        await stream.subscribe(*names, presence=self.presence)
        initial = await self._ask("get_initial")
        if isinstance(initial, AsyncIterable):
            await stream.feed(initial)
        elif isinstance(initial, str | dict) or not isinstance(initial, Iterable | None):
            raise TypeError(
                f"get_initial() returned {initial!r}; return an iterable of events, or None."
            )
        elif initial is not None:
            # In a thread: a queryset, or a generator over one, makes its query now.
            for value in await call(list, initial):
                await stream.send(as_event(value))

    async def _ask(self, name: str) -> Any:
        method = getattr(self, name)
        # Ours are no reason for a thread.
        is_ours = getattr(type(self), name) is getattr(EventStreamView, name)
        return method() if is_ours else await call(method)


# The URL's arguments are in self.kwargs, as in every class-based view.
_NO_MODELS = ModelArguments(EventStreamView.get, {})


def _declared(
    view: type[EventStreamView], initkwargs: Mapping[str, Any], groups: str | Sequence[str]
) -> Declared:
    """Return what *view* tells of its streams' groups, of which *groups* are the attribute."""

    async def ask(
        request: HttpRequest, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[str, ...]:
        made = view(**initkwargs)
        made.setup(request, *args, **kwargs)
        return check_groups(await made._ask("get_groups") or ())

    is_static = bool(groups) and view.get_groups is EventStreamView.get_groups
    return check_names(groups) if is_static else ask
