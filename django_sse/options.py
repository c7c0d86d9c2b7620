"""The options of an event-stream view."""

import dataclasses
import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from django_sse.conf import get_settings, is_origin
from django_sse.groups import check_names
from django_sse.lifetime import check_lifetime
from django_sse.resuming import Start, check_start
from django_sse.types import Predicate

__all__ = ["StreamOptions", "make_options"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """
    What ``event_stream`` and ``EventStreamView`` may be told.

    Args:
        groups: Groups that every stream is in: a name, several, or a function of the request
            and of the URL arguments that it names, sync or async, that returns them.
        progressive: Whether a client that asked for no event stream gets JSON.
        guard: A function of the request and of the URL arguments that it names, sync or async;
            when it returns False the answer is 403.
        recheck: Seconds from one call of *guard* to the next while the stream is open; the
            default is the setting ``RECHECK_SECONDS``.
        heartbeat: Seconds without an event until a comment is sent; default: the setting.
        retry: The client's reconnection time in milliseconds; default: the setting.
        max_duration: Seconds until the stream ends, spread by 20 %; default: the setting.
        methods: The HTTP methods allowed; HEAD goes with GET.
        allowed_origins: Origins of other sites whose pages may read the stream; default: the
            setting ``ALLOWED_ORIGINS``.
        start: Where a client without a last event id begins in the groups: "new", "all" that the
            store keeps, or a number of past events.
        presence: Whether *groups* are told that the user has joined, and that they left.
        lookups: For a parameter whose type is a model, the field that its URL argument names;
            the primary key if none is given.
    """

    groups: str | Sequence[str] | Callable[..., Any] = ()
    progressive: bool = False
    guard: Predicate | None = None
    recheck: float | None = None
    heartbeat: float | None = None
    retry: int | None = None
    max_duration: float | None = None
    methods: Sequence[str] = ("GET",)
    allowed_origins: Sequence[str] | None = None
    start: Start = "new"
    presence: bool = False
    lookups: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def origins(self) -> Sequence[str]:
        """The origins of other sites that may read the stream."""
        if self.allowed_origins is None:
            return get_settings().allowed_origins
        return self.allowed_origins


def make_options(given: Mapping[str, Any]) -> StreamOptions:
    """
    Return *given* as StreamOptions.

    Raises:
        InvalidGroup: If one of *groups* is no name.
        TypeError: If an option is unknown or of the wrong type.
        ValueError: If its value breaks a rule.
    """
    names = [field.name for field in dataclasses.fields(StreamOptions)]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(names)}."
            raise TypeError(f"There is no option {name!r} for an event stream; {fix}")
    _check_types(given)
    groups = given.get("groups", ())
    if not callable(groups):
        given = {**given, "groups": check_names(groups)}
    options = StreamOptions(**given)
    check_lifetime(
        heartbeat=options.heartbeat,
        retry=options.retry,
        max_duration=options.max_duration,
        recheck=options.recheck,
    )
    check_start(options.start)
    if options.recheck is not None and options.guard is None:
        raise ValueError(f"recheck={options.recheck!r} needs a guard= to call.")
    _check_methods(options.methods)
    for origin in options.allowed_origins or ():
        if not is_origin(origin):
            raise ValueError(
                f"allowed_origins has {origin!r}; an origin is a scheme and a host with no path,"
                " such as 'https://example.com'."
            )
    return options


def _is_list(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


def _is_names(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(word, str) for pair in value.items() for word in pair
    )


# What each option must be, and how that is tested; its value comes after.
_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "progressive": ("True or False", lambda value: isinstance(value, bool)),
    "presence": ("True or False", lambda value: isinstance(value, bool)),
    "guard": ("a function of the request", lambda value: value is None or callable(value)),
    "methods": ("a list such as ['GET', 'POST']", lambda value: _is_list(value) and bool(value)),
    "allowed_origins": ("a list of strings", lambda value: value is None or _is_list(value)),
    "lookups": ("a dict of parameters and fields, such as {'room': 'slug'}", _is_names),
}


def _check_types(given: Mapping[str, Any]) -> None:
    for name, (rule, holds) in _TYPES.items():
        if name in given and not holds(given[name]):
            raise TypeError(f"{name}={given[name]!r} must be {rule}.")


def _check_methods(methods: Sequence[str]) -> None:
    for method in methods:
        if method not in _METHODS:
            raise ValueError(f"methods has {method!r}; the methods are {', '.join(_METHODS)}.")
