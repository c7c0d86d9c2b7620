"""The channel layer that the project has configured."""

from typing import cast

from channels.layers import channel_layers
from django.core.exceptions import ImproperlyConfigured

from django_sse.conf import get_settings
from django_sse.types import ChannelLayer

__all__ = ["get_layer", "has_layer"]


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
