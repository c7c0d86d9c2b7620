"""The dashboard: what all workers do, at a glance and as it happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.text import capfirst
from django.utils.translation import get_language, override

from django_sse.admin.base import ReadOnlyAdmin
from django_sse.admin.board import FRAGMENTS, Board
from django_sse.calls import call
from django_sse.decorators import event_stream
from django_sse.endpoints import run_outside_transactions
from django_sse.events import ServerSentEvent
from django_sse.hub import get_hub
from django_sse.markup import script_url
from django_sse.models import Dashboard
from django_sse.pulses import until_tick
from django_sse.registrar import Registrar
from django_sse.registry import registry_alias
from django_sse.streams import EventStream

__all__ = ["DashboardAdmin"]

_RECHECK_SECONDS = 3
# The reports of other machines are on their way for so long.
_WAIT_SECONDS = 0.1


@admin.register(Dashboard)
class DashboardAdmin(ReadOnlyAdmin):
    """A page in place of the list, and the stream that keeps it up to date."""

    def get_urls(self) -> list[Any]:
        """See ModelAdmin: there is nothing to add, to change or to delete."""
        info = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", self.admin_site.admin_view(self.changelist_view), name=f"{info}_changelist"),
            path("stream/", self._stream_view(), name=f"{info}_stream"),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """See ModelAdmin."""
        return request.user.has_perm("django_sse.view_connection")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """See ModelAdmin."""
        return self.has_view_permission(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Answer with the dashboard, complete as it is without JavaScript."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            "script": script_url("admin/dashboard"),
            "stream_url": self.url("stream"),
            "swap": "; ".join(f"{name}: innerHTML #sse-{name}" for name in FRAGMENTS),
            **(extra_context or {}),
        }
        alias = registry_alias()
        if alias is not None:
            context.update(Board(alias, self.admin_site.name).context())
        return self.render(request, "page", capfirst(str(self.opts.verbose_name_plural)), context)

    def _may_watch(self, request: HttpRequest) -> bool:
        return self.admin_site.has_permission(request) and self.has_view_permission(request)

    def _stream_view(self) -> Any:
        # Not by admin_view(), which is sync, and would redirect to a page to log in.
        stream = event_stream(guard=self._may_watch, recheck=_RECHECK_SECONDS)(self._serve)

        async def view(request: HttpRequest) -> HttpResponseBase:
            if registry_alias() is None or not await call(self._may_watch, request):
                if _comes_back(request):
                    return HttpResponse(status=204)  # It is to stay away.
                raise PermissionDenied
            return await stream(request)

        served: Any = run_outside_transactions(view)
        served.login_required = False  # Of Django's LoginRequiredMiddleware, which would redirect.
        return served

    async def _serve(self, request: HttpRequest, stream: EventStream) -> None:
        # What is sent to all streams is not for this one: its page takes events as HTML.
        stream.divert_broadcasts(lambda event: None)
        stream.create_task(self._feed(stream))

    async def _feed(self, stream: EventStream) -> None:
        await stream.feed(self._events())
        await stream.close()

    async def _events(self) -> AsyncIterator[ServerSentEvent]:
        alias, pulses = registry_alias(), Registrar.of(get_hub()).pulses
        if alias is None or pulses is None:
            return
        language, board = get_language(), Board(alias, self.admin_site.name)

        def events(*heard: Any) -> list[ServerSentEvent]:
            with override(language):
                return board.events(*heard)

        # With an id, a browser says of itself that it comes back.
        yield ServerSentEvent({}, event="hello", id="dashboard")
        async with pulses.watching():
            while True:
                now = asyncio.get_running_loop().time()
                for event in await sync_to_async(events)(dict(pulses.heard), now):
                    yield event
                await asyncio.sleep(until_tick(_WAIT_SECONDS))


def _comes_back(request: HttpRequest) -> bool:
    return "Last-Event-ID" in request.headers or "last_event_id" in request.GET
