"""Models that publish: what is saved, deleted or related anew is told after the commit."""

from django_sse.model_publishing.publishers import ModelPublisher
from django_sse.model_publishing.registry import register, unregister
from django_sse.model_publishing.suppression import suppress_publishing

__all__ = ["ModelPublisher", "register", "suppress_publishing", "unregister"]
