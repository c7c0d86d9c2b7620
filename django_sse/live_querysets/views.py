"""The view that streams the rows of a queryset."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from django_sse.calls import call
from django_sse.live_querysets.subscriptions import subscribe_queryset
from django_sse.model_publishing import ModelPublisher
from django_sse.streams import EventStream
from django_sse.views import EventStreamView

__all__ = ["LiveQuerySetView"]


class LiveQuerySetView(EventStreamView):
    """
    A stream of the rows of a queryset, and of what becomes of them.

    For example::

        class OpenOrders(LiveQuerySetView):
            queryset = Order.objects.filter(status="open")
            template_name = "shop/_order.html"

    The events are those of subscribe_queryset(). All else is as in EventStreamView; with groups,
    their events come on the same stream.

    Attributes:
        model: The model, if all of its rows are streamed.
        queryset: Instead: the rows. What depends on the request is in get_queryset().
        publisher: See subscribe_queryset().
        template_name: See subscribe_queryset().
    """

    model: type[Model] | None = None
    queryset: QuerySet[Any] | None = None
    publisher: type[ModelPublisher] | None = None
    template_name: str | None = None

    def get_queryset(self) -> Any:
        """Return the queryset. Default: ``queryset``, or all rows of ``model``."""
        if self.queryset is not None:
            return self.queryset.all()
        if self.model is not None:
            return self.model._default_manager.all()
        raise ImproperlyConfigured(
            f"{type(self).__name__} has no queryset; set queryset or model, or override"
            " get_queryset()."
        )

    async def _open(
        self, request: HttpRequest, stream: EventStream, *args: Any, **kwargs: Any
    ) -> None:
        queryset = await call(self.get_queryset)
        live = subscribe_queryset(
            queryset, publisher=self.publisher, template_name=self.template_name
        )
        async with live as events:
            if self._has_groups():
                await super()._open(request, stream, *args, **kwargs)
            stream.start()  # The rows may take a while.
            await stream.feed(events)

    def _has_groups(self) -> bool:
        own, base = type(self), EventStreamView
        return bool(self.groups) or own.get_groups is not base.get_groups
