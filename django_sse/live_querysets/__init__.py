"""Querysets that are followed: the rows that match, and then what enters, changes and leaves."""

from django_sse.live_querysets.subscriptions import QuerySetSubscription, subscribe_queryset
from django_sse.live_querysets.views import LiveQuerySetView

__all__ = ["LiveQuerySetView", "QuerySetSubscription", "subscribe_queryset"]
