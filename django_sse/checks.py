"""System checks: what is misconfigured, before the first request."""

from typing import Any

from channels.layers import InMemoryChannelLayer
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from django_sse.conf import get_settings
from django_sse.layers import get_layer, has_layer
from django_sse.model_publishing.checks import check_publishers
from django_sse.model_publishing.registry import publishers
from django_sse.registry import has_database, registry_alias
from django_sse.stores import get_store

__all__ = [
    "check_asgi",
    "check_channel_layer",
    "check_group_access",
    "check_models_that_publish",
    "check_process_count",
    "check_registry",
    "check_settings",
    "check_store",
    "check_store_is_shared",
    "check_tokens_are_rechecked",
]


@register()
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """``DJANGO_SSE`` has a key that is unknown, or a value that breaks its rule."""
    try:
        get_settings()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint="docs/reference/settings.md lists every setting with its rule.",
                id="django_sse.E001",
            )
        ]
    return []


@register()
def check_channel_layer(**kwargs: Any) -> list[CheckMessage]:
    """There is no channel layer for the groups."""
    try:
        alias, exists = get_settings().channel_layer, has_layer()
    except ImproperlyConfigured:
        return []  # check_settings() tells.
    if exists:
        return []
    return [
        Warning(
            f"There is no channel layer {alias!r}, so that streams can have no groups, and"
            " nothing can be published.",
            hint=f"Add {alias!r} to CHANNEL_LAYERS.",
            id="django_sse.W001",
        )
    ]


@register()
def check_store(**kwargs: Any) -> list[CheckMessage]:
    """The store of the events' history cannot be made, or finds something wrong itself."""
    try:
        get_settings()
    except ImproperlyConfigured:
        return []  # check_settings() tells.
    try:
        store = get_store()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint="docs/reference/stores.md lists the stores with their options.",
                id="django_sse.E002",
            )
        ]
    return [] if store is None else store.check()


@register()
def check_store_is_shared(**kwargs: Any) -> list[CheckMessage]:
    """The channel layer reaches other processes, and the store does not."""
    try:
        layer, store = get_layer(), get_store()
    except ImproperlyConfigured:
        return []  # check_settings(), check_channel_layer() or check_store() tells.
    if isinstance(layer, InMemoryChannelLayer) or store is None or store.is_shared:
        return []
    name = type(store).__name__
    return [
        Error(
            f"The channel layer reaches other processes, and the {name} is of one process: streams"
            " would take the events that others publish for a history that was lost.",
            hint="Set DJANGO_SSE['STORE'] to a RedisStore or a DatabaseStore, or to None.",
            id="django_sse.E003",
        )
    ]


@register()
def check_registry(**kwargs: Any) -> list[CheckMessage]:
    """The registry's database is not one of the project's, or there is none at all."""
    try:
        given = get_settings().registry
    except ImproperlyConfigured:
        return []  # check_settings() tells.
    alias = registry_alias()
    if given and alias is None:
        return [
            Warning(
                "There is no database for the registry: connections() and presence=True are"
                " errors, and disconnect() reaches other workers by the channel layer alone.",
                hint="Set DATABASES; or set DJANGO_SSE['REGISTRY'] to False, to say that it is"
                " meant so.",
                id="django_sse.W006",
            )
        ]
    if alias is None or has_database(alias):
        return []
    return [
        Error(
            f"The registry's database {alias!r} is not one of DATABASES.",
            hint="Set DJANGO_SSE['REGISTRY'] to one of them, to True, or to False for none.",
            id="django_sse.E004",
        )
    ]


@register()
def check_models_that_publish(**kwargs: Any) -> list[CheckMessage]:
    """A publisher in an app's ``sse.py`` has a mistake, or two of them have the same events."""
    return check_publishers(publishers())


@register()
def check_asgi(**kwargs: Any) -> list[CheckMessage]:
    """The project has no ASGI application, which ``runserver`` of daphne would serve."""
    if getattr(settings, "ASGI_APPLICATION", None):
        return []
    return [
        Warning(
            "ASGI_APPLICATION is not set: under WSGI an event stream is answered with 501.",
            hint="Put 'daphne' first in INSTALLED_APPS and set ASGI_APPLICATION to the path of"
            " what django_sse.asgi.get_asgi_application() returned.",
            id="django_sse.W002",
        )
    ]


@register(Tags.urls)
def check_group_access(**kwargs: Any) -> list[CheckMessage]:
    """``GROUP_ACCESS`` is set, and nothing asks it."""
    try:
        function = get_settings().group_access
    except ImproperlyConfigured:
        return []  # check_settings() tells.
    if function is None or _has_urls():
        return []
    return [
        Warning(
            "DJANGO_SSE['GROUP_ACCESS'] says who may read groups by name, and there is no URL for"
            " that.",
            hint="Add path('sse/', include('django_sse.urls')) to the URLconf, or take the setting"
            " out.",
            id="django_sse.W004",
        )
    ]


@register(Tags.urls, deploy=True)
def check_tokens_are_rechecked(**kwargs: Any) -> list[CheckMessage]:
    """A stream that was opened by a token goes on after its reader has logged out."""
    try:
        seconds = get_settings().recheck_seconds
    except ImproperlyConfigured:
        return []  # check_settings() tells.
    if seconds is not None or not _has_urls():
        return []
    return [
        Warning(
            "django_sse.urls is included, and RECHECK_SECONDS is not set: an open stream of groups"
            " goes on when its reader logs out or may not read a group any more.",
            hint="Set DJANGO_SSE['RECHECK_SECONDS'], to 60 for example.",
            id="django_sse.W005",
        )
    ]


def _has_urls() -> bool:
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    try:
        reverse("django_sse:groups")
    except NoReverseMatch:
        return False
    return True


@register(deploy=True)
def check_process_count(**kwargs: Any) -> list[CheckMessage]:
    """The channel layer reaches one process only."""
    try:
        layer = get_layer()
    except ImproperlyConfigured:
        return []  # check_channel_layer() tells.
    if not isinstance(layer, InMemoryChannelLayer):
        return []
    return [
        Warning(
            "The channel layer is the in-memory one: what one process publishes does not reach"
            " the streams of another.",
            hint="Use channels_redis, or serve with one process and publish from no other.",
            id="django_sse.W003",
        )
    ]
