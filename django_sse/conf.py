"""The package's settings: one dict, ``DJANGO_SSE``, read here and nowhere else."""

import dataclasses
import difflib
import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

__all__ = [
    "Settings",
    "get_authentication_backends",
    "get_secret_keys",
    "get_settings",
    "is_debug",
    "is_origin",
    "is_seconds",
    "load_settings",
]


_DEFAULT_ENCODER = "django_sse.encoders.EventEncoder"


def _setting(default: Any, rule: str, holds: Callable[[Any], bool]) -> Any:
    return dataclasses.field(default=default, metadata={"rule": rule, "holds": holds})


def is_seconds(value: object) -> bool:
    """Tell whether *value* is a number of seconds: above 0, and with an end."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_backend(value: Any) -> bool:
    """Tell whether *value* names a class and its keyword arguments, as Django's backends do."""
    return (
        isinstance(value, Mapping)
        and "BACKEND" in value
        and set(value) <= {"BACKEND", "OPTIONS"}
        and isinstance(value["BACKEND"], str)
        and isinstance(value.get("OPTIONS", {}), Mapping)
    )


def _seconds(default: float) -> Any:
    return _setting(default, "a number of seconds above 0", is_seconds)


def _optional_seconds() -> Any:
    return _setting(
        None, "a number of seconds above 0, or None", lambda v: v is None or is_seconds(v)
    )


def _optional_count() -> Any:
    return _setting(None, "a whole number above 0, or None", lambda v: v is None or _is_count(v))


def _bytes(default: int) -> Any:
    return _setting(default, "a whole number of bytes above 0", _is_count)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``DJANGO_SSE`` says, with the defaults filled in; units stand in the names."""

    channel_layer: str = _setting(
        "default", "an alias of CHANNEL_LAYERS", lambda v: isinstance(v, str)
    )
    channel_layer_timeout_seconds: float = _seconds(5)
    encoder: type[json.JSONEncoder] = _setting(
        _DEFAULT_ENCODER,
        "a subclass of json.JSONEncoder, or the dotted path of one",
        lambda v: isinstance(v, type) and issubclass(v, json.JSONEncoder),
    )
    heartbeat_seconds: float = _seconds(15)
    reconnection_time_ms: int = _setting(
        3000,
        "a whole number of milliseconds, 0 or more",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
    )
    max_duration_seconds: float | None = _optional_seconds()
    recheck_seconds: float | None = _optional_seconds()
    send_timeout_seconds: float = _seconds(30)
    queue_max_bytes: int = _bytes(262_144)
    max_event_bytes: int = _bytes(262_144)
    max_groups: int = _setting(
        100,
        # With more, an id would not fit into the header in which it comes back.
        "a whole number from 1 to 300",
        lambda v: _is_count(v) and v <= 300,
    )
    max_connections: int | None = _optional_count()
    max_connections_per_user: int | None = _optional_count()
    max_connections_per_address: int | None = _optional_count()
    allowed_origins: tuple[str, ...] = _setting(
        (),
        "a list of origins as browsers send them, such as 'https://example.com'",
        lambda v: isinstance(v, list | tuple) and all(is_origin(origin) for origin in v),
    )
    group_access: Callable[..., Any] | None = _setting(
        None,
        "a function of a request and a group's name, the dotted path of one, or None",
        lambda v: v is None or (callable(v) and not isinstance(v, type)),
    )
    token_seconds: float = _seconds(300)
    store: Mapping[str, Any] | Literal["auto"] | None = _setting(
        "auto",
        "a dict with 'BACKEND', a dotted path, and maybe 'OPTIONS', a dict; or 'auto'; or None",
        lambda v: v is None or v == "auto" or _is_backend(v),
    )
    registry: bool | str = _setting(
        True,
        "True, False, or an alias of DATABASES",
        lambda v: isinstance(v, bool) or (isinstance(v, str) and bool(v)),
    )
    lease_seconds: float = _seconds(30)


# A wildcard, a path or a capital letter would never equal the header: no page could read.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?")


def is_origin(value: object) -> bool:
    """Tell whether *value* is an origin as browsers send it: a scheme, a host, maybe a port."""
    return isinstance(value, str) and _ORIGIN.fullmatch(value) is not None


# What may be a dotted path, and what stands in for one that leads nowhere.
_IMPORTED: dict[str, Any] = {"ENCODER": json.JSONEncoder, "GROUP_ACCESS": None}
_FIELDS = {field.name.upper(): field for field in dataclasses.fields(Settings)}


def load_settings(given: Mapping[str, Any]) -> Settings:
    """
    Return *given* as Settings.

    Raises:
        ImproperlyConfigured: If a key is unknown or a value breaks its rule; the message names
            each of them.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in _FIELDS:
            problems.append(_unknown(key))
            continue
        field = _FIELDS[key]
        if key in _IMPORTED and isinstance(value, str):
            value = _import(key, value, problems)
        if not field.metadata["holds"](value):
            problems.append(
                f"DJANGO_SSE[{key!r}] is {value!r}; it must be {field.metadata['rule']}."
            )
        values[field.name] = tuple(value) if isinstance(value, list) else value
    if problems:
        raise ImproperlyConfigured(" ".join(problems))
    values.setdefault("encoder", import_string(_DEFAULT_ENCODER))
    return Settings(**values)


def _unknown(key: object) -> str:
    near = difflib.get_close_matches(str(key).upper(), _FIELDS, n=1)
    fix = (
        f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(sorted(_FIELDS))}."
    )
    return f"DJANGO_SSE has no setting {key!r}; {fix}"


def _import(key: str, path: str, problems: list[str]) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        problems.append(f"DJANGO_SSE[{key!r}] cannot be imported: {error}.")
        return _IMPORTED[key]


@functools.cache
def get_settings() -> Settings:
    """Return the project's settings, read once. Raises as load_settings() does."""
    given = getattr(django_settings, "DJANGO_SSE", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"DJANGO_SSE is {given!r}; it must be a dict.")
    return load_settings(given)


@functools.cache
def get_secret_keys() -> tuple[str | bytes, ...]:
    """Return ``SECRET_KEY``, with which tags are made, then its fallbacks."""
    return (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)


def is_debug() -> bool:
    """Tell whether the project is being worked on: Django's ``DEBUG``."""
    return django_settings.DEBUG


def get_authentication_backends() -> tuple[str, ...]:
    """Return the paths in ``AUTHENTICATION_BACKENDS``."""
    return tuple(django_settings.AUTHENTICATION_BACKENDS)


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "DJANGO_SSE":
        get_settings.cache_clear()
    if setting in ("SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        get_secret_keys.cache_clear()
