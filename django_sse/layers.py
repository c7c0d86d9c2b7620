"""The channel layer that the project has configured."""

from typing import cast

from channels.layers import channel_layers
from django.core.exceptions import ImproperlyConfigured

from django_sse.conf import get_settings
from django_sse.types import ChannelLayer

__all__ = ["describe", "get_layer", "has_layer"]

# What a node of a Redis Cluster answers to who knows of no cluster. By name: without
# channels_redis there is no redis-py.
_OF_CLUSTERS = {"AskError", "ClusterCrossSlotError", "MovedError"}


def has_layer() -> bool:
    """Tell whether ``CHANNEL_LAYERS`` has the layer that ``CHANNEL_LAYER`` names."""
    return get_settings().channel_layer in channel_layers


def get_layer() -> ChannelLayer:
    """
    Return the layer.

    Raises:
        ImproperlyConfigured: If there is none of that name.
    """
    alias = get_settings().channel_layer
    if (made := channel_layers.backends.get(alias)) is not None:
        return cast(ChannelLayer, made)
    if alias not in channel_layers:
        raise ImproperlyConfigured(
            f"There is no channel layer {alias!r}: groups need one. Add it to CHANNEL_LAYERS; for"
            f" one process, CHANNEL_LAYERS = {{{alias!r}: {{'BACKEND':"
            " 'channels.layers.InMemoryChannelLayer'}}."
        )
    return cast(ChannelLayer, channel_layers[alias])


def describe(error: BaseException) -> str:
    """Return what to tell of an *error* of the layer, with the fix if it is a wrong server."""
    text = f"{type(error).__name__}: {str(error) or 'it took too long'}"
    if type(error).__name__ not in _OF_CLUSTERS:
        return text
    return (
        f"{text}. A host of CHANNEL_LAYERS is a node of a Redis Cluster, where the core layer of"
        " channels_redis cannot work: give it plain Redis servers, or take"
        " channels_redis.pubsub.RedisPubSubChannelLayer"
    )
