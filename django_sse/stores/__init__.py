"""The store of the project: the one that ``DJANGO_SSE["STORE"]`` names, or the one that fits."""

import inspect
from collections.abc import Mapping
from typing import Any

from channels.layers import channel_layers
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from django_sse.conf import get_settings
from django_sse.stores.base import BaseStore

__all__ = ["BaseStore", "forget_store", "get_store"]

_MEMORY = "django_sse.stores.memory.MemoryStore"
_REDIS = "django_sse.stores.redis.RedisStore"
_EXPLICIT = "Set DJANGO_SSE['STORE'] yourself: to a store with its own OPTIONS, or to None."

# The one instance, under the key "store". Whoever loses the race to make it takes the winner's:
# no lock, which a fork could leave held.
_made: dict[str, BaseStore | None] = {}


def get_store() -> BaseStore | None:
    """
    Return the process's store, made at first use; None where the project keeps no history.

    Raises:
        ImproperlyConfigured: If it cannot be made.
    """
    try:
        return _made["store"]
    except KeyError:
        return _made.setdefault("store", _make())


def forget_store() -> None:
    """Forget the instance: the next get_store() makes a new one."""
    _made.clear()


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("DJANGO_SSE", "CHANNEL_LAYERS"):
        forget_store()


def _make() -> BaseStore | None:
    given = get_settings().store
    if given is None:
        return None
    path, options = _fitting() if given == "auto" else (given["BACKEND"], given.get("OPTIONS", {}))
    try:
        backend = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"DJANGO_SSE['STORE']: {path!r} cannot be imported: {error}."
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, BaseStore)):
        raise ImproperlyConfigured(
            f"DJANGO_SSE['STORE']: {path!r} is {backend!r}; it must be a subclass of"
            " django_sse.stores.BaseStore."
        )
    _check_options(backend, options)
    return backend(**options)


def _check_options(backend: type[BaseStore], options: Mapping[str, Any]) -> None:
    known = _options_of(backend)
    if unknown := sorted(str(name) for name in options if name not in known):
        raise ImproperlyConfigured(
            f"DJANGO_SSE['STORE']: {backend.__name__} has no option"
            f" {', '.join(map(repr, unknown))}; its options are {', '.join(sorted(known))}."
        )


def _options_of(backend: type[BaseStore]) -> set[str]:
    """Return the keyword arguments of the class, and of those that its ``**kwargs`` go to."""
    names: set[str] = set()
    for parent in backend.__mro__:
        if "__init__" not in vars(parent):
            continue
        parameters = list(inspect.signature(vars(parent)["__init__"]).parameters.values())[1:]
        names |= {
            parameter.name
            for parameter in parameters
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names


def _fitting() -> tuple[str, dict[str, Any]]:
    """Return the class that fits the channel layer, and its options."""
    configs = channel_layers.configs
    layer = configs.get(get_settings().channel_layer, {})
    if not layer or not _is_of_channels_redis(layer.get("BACKEND")):
        return _MEMORY, {}
    config = layer.get("CONFIG", {})
    if config.get("symmetric_encryption_keys"):
        raise ImproperlyConfigured(
            "CHANNEL_LAYERS has symmetric_encryption_keys, and RedisStore writes plain text."
            f" {_EXPLICIT}"
        )
    # Projects that share a Redis keep apart by the layer's prefix.
    own = {"prefix": f"{config['prefix']}:django_sse"} if "prefix" in config else {}
    try:
        import_string(_REDIS).check_hosts(config.get("hosts"))
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(
            f"CHANNEL_LAYERS: {error} No store fits it, {_EXPLICIT}"
        ) from error
    return _REDIS, {"hosts": config.get("hosts"), **own}


def _is_of_channels_redis(path: Any) -> bool:
    try:
        backend = import_string(path)
    except (ImportError, AttributeError):
        return False  # The layer's own error comes when the layer is used.
    return any(parent.__module__.startswith("channels_redis.") for parent in backend.__mro__)
