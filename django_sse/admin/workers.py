"""The list of the processes that serve streams."""

import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_sse.admin import cells
from django_sse.admin.base import ReadOnlyAdmin, list_url
from django_sse.models import DatabaseNow, Worker
from django_sse.registry import registry_alias

__all__ = ["WorkerAdmin"]

_FAULTS = (
    "stream_errors",
    "publish_errors",
    "layer_errors",
    "store_errors",
    "registry_errors",
    "queue_drops",
    "events_dropped",
)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """The workers whose lease runs, and what each has counted since it began."""

    list_display = ["name", "started", "lease", "streams", "opened", "events", "size", "faults"]
    ordering = ["hostname", "pid"]
    search_fields = ["hostname", "pid"]

    class Media:
        css = {"all": ["django_sse/admin/pages.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the workers that live; none where there is no registry."""
        alias = registry_alias()
        if alias is None:
            return Worker.objects.none()
        rows = Worker.live.using(alias).annotate(
            streams=Count("connections"), looked_at=DatabaseNow()
        )
        return rows.order_by(*self.get_ordering(request))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """See ModelAdmin."""
        context = {"title": _("Workers"), "has_registry": registry_alias() is not None}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a worker, with all that it has counted."""
        row = self.get_object(request, object_id)
        if row is None or not self.has_view_permission(request, row):
            return super().change_view(request, object_id, form_url, extra_context)
        context = {
            "row": row,
            "streams_url": self._streams_url(row),
            "uptime": cells.age(row.started_at),
            "lease": self.lease(row),
            "counters": [(_text_of(name), count) for name, count in row.counters.items()],
            **(extra_context or {}),
        }
        return self.render(request, "detail", str(row), context)

    @admin.display(description=gettext_lazy("worker"), ordering="hostname")
    def name(self, row: Worker) -> SafeString:
        """Return the host and the process."""
        return cells.two_lines(row.hostname, _("process %d") % row.pid)

    @admin.display(description=gettext_lazy("up for"), ordering="-started_at")
    def started(self, row: Worker) -> SafeString:
        """Return how long ago it was started."""
        return cells.labelled(_("up for"), cells.age(row.started_at))

    @admin.display(description=gettext_lazy("lease"), ordering="lease_until")
    def lease(self, row: Any) -> SafeString:
        """Return for how long its streams are still shown if nothing more is heard of it."""
        left: datetime.timedelta = row.lease_until - row.looked_at
        text = _("%s left") % cells.duration(left.total_seconds())
        until = date_format(cells.local_time(row.lease_until), "DATETIME_FORMAT")
        cell = format_html('<span class="sse-nowrap" title="{}">{}</span>', until, text)
        return cells.labelled(_("lease"), cell)

    @admin.display(description=gettext_lazy("streams"), ordering="streams")
    def streams(self, row: Any) -> SafeString:
        """Return how many it has open, with a link to their list."""
        number = cells.number(row.streams)
        if url := self._streams_url(row):
            number = format_html('<a href="{}">{}</a>', url, number)
        return cells.labelled(_("streams"), number)

    @admin.display(description=gettext_lazy("opened"))
    def opened(self, row: Worker) -> SafeString:
        """Return how many it has opened."""
        return cells.labelled(_("opened"), _counted(row, "streams_opened"))

    @admin.display(description=gettext_lazy("events sent"))
    def events(self, row: Worker) -> SafeString:
        """Return how many events it has sent."""
        return cells.labelled(_("events sent"), _counted(row, "events_sent"))

    @admin.display(description=gettext_lazy("bytes sent"))
    def size(self, row: Worker) -> SafeString:
        """Return how many bytes it has sent."""
        return cells.labelled(_("bytes sent"), cells.size(row.counters.get("bytes_sent", 0)))

    @admin.display(description=gettext_lazy("faults"))
    def faults(self, row: Worker) -> SafeString:
        """Return how many errors and losses it has counted; which ones is the title."""
        counted = {name: row.counters.get(name, 0) for name in _FAULTS}
        named = "\n".join(f"{_text_of(name)}: {count}" for name, count in counted.items() if count)
        cell = cells.number(sum(counted.values()), "sse-fault")
        return cells.labelled(_("faults"), format_html('<span title="{}">{}</span>', named, cell))

    def _streams_url(self, row: Worker) -> str:
        url = list_url("connection", self.admin_site.name)
        return url and f"{url}?{urlencode({'worker': row.pk})}"


def _counted(row: Worker, name: str) -> SafeString:
    return cells.number(row.counters.get(name, 0))


def _text_of(counter: str) -> str:
    return counter.replace("_", " ")
