"""The list of open streams."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_sse.admin import cells
from django_sse.admin.base import ReadOnlyAdmin
from django_sse.admin.connection_pages import ConnectionPages
from django_sse.admin.filters import (
    GroupFilter,
    StateFilter,
    UserFilter,
    ViewFilter,
    WorkerFilter,
)
from django_sse.admin.forms import TestEventForm
from django_sse.admin.live import live_view
from django_sse.admin.users import ShownUser, find_users, show_users
from django_sse.control import disconnect, send_to_streams
from django_sse.models import Connection, Membership
from django_sse.registry import registry_alias
from django_sse.stores.database_reading import group_key

__all__ = ["ConnectionAdmin"]

_GROUPS_SHOWN = 2
# In one message of the channel layer.
_IDS_AT_ONCE = 500
# On a page that asks whether one is sure.
_NAMED = 10


class _Connections(ChangeList):
    """One page of the list, with the names of its users looked up together."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        users = show_users({row.user_id for row in rows}, request, self.model_admin.admin_site)
        for row in rows:
            row.shown_user = users.get(row.user_id)
        self.result_list = rows


@admin.register(Connection)
class ConnectionAdmin(ConnectionPages, ReadOnlyAdmin):
    """The open streams of all workers that live; what may be done to them, and by whom."""

    actions = ["disconnect_selected", "send_test_event"]
    list_display = ["stream", "user", "groups", "age", "sent", "waiting"]
    list_display_links = ["stream"]
    list_filter = [StateFilter, WorkerFilter, GroupFilter, UserFilter, ViewFilter]
    list_select_related = ["worker"]
    ordering = ["-opened_at"]
    search_fields = ["path"]
    search_help_text = gettext_lazy(
        "The name or the id of a user, a group, a path, a view, an address, or the id of a stream"
    )

    class Media:
        css = {"all": ["django_sse/admin/pages.css"]}

    # What is listed.

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the streams of workers that live; none where there is no registry."""
        alias = registry_alias()
        if alias is None:
            return Connection.objects.none()
        rows = Connection.live.using(alias).prefetch_related("memberships")
        return rows.order_by(*self.get_ordering(request))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Connection | None:
        """See ModelAdmin. What was done to a stream can be read when it is gone, too."""
        found: Connection | None = super().get_object(request, object_id, from_field)
        match = request.resolver_match
        is_history = match is not None and match.url_name == f"{self.opts.db_table}_history"
        return Connection(pk=object_id) if found is None and is_history else found

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """See ModelAdmin."""
        return _Connections

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return those of *queryset* that have each word of *search_term* somewhere."""
        for word in search_term.split():
            queryset = queryset.filter(_has(word))
        return queryset, False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """See ModelAdmin."""
        context = {
            "title": _("Open streams"),
            "has_registry": registry_alias() is not None,
            "may_publish": self.has_publish_permission(request),
            "send_url": self.url("send_to_many"),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        """Return the pages of a stream beside those of every model."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_%s"
        wrap = self.admin_site.admin_view
        own = [
            path("send/", wrap(self.send_to_many_view), name=name % "send_to_many"),
            # Not wrapped: a stream is never sent to the login page.
            path("<str:object_id>/live/", live_view(self), name=name % "live"),
            path(
                "<str:object_id>/disconnect/", wrap(self.disconnect_view), name=name % "disconnect"
            ),
            path("<str:object_id>/send/", wrap(self.send_view), name=name % "send"),
        ]
        return own + super().get_urls()

    # The columns.

    @admin.display(description=gettext_lazy("stream"), ordering="path")
    def stream(self, row: Connection) -> SafeString:
        """Return the path, and the name of the view."""
        path = cells.breakable(cells.shortened(row.path, 60)) or row.pk
        return cells.two_lines(format_html('<span class="sse-path">{}</span>', path), row.view)

    @admin.display(description=gettext_lazy("user"), ordering="user_id")
    def user(self, row: Connection) -> SafeString:
        """Return the user's name, with a link to their page, and the address of the client."""
        shown: ShownUser | None = row.shown_user  # type: ignore[attr-defined]
        name: str | SafeString = shown.name if shown is not None else "-"
        if shown is not None and shown.url:
            name = format_html('<a href="{}">{}</a>', shown.url, shown.name)
        return cells.labelled(_("user"), cells.two_lines(name, row.address))

    @admin.display(description=gettext_lazy("groups"))
    def groups(self, row: Connection) -> SafeString:
        """Return the names of the groups, each with a link to its streams."""
        names = sorted({membership.group for membership in row.memberships.all()})
        links = [(name, self.filtered(group=name)) for name in names]
        return cells.labelled(_("groups"), cells.chips(links, _GROUPS_SHOWN) or "-")

    @admin.display(description=gettext_lazy("open for, on"), ordering="-opened_at")
    def age(self, row: Connection) -> SafeString:
        """Return how long the stream has been open, and the worker, with a link to its streams."""
        link = format_html(
            '<a href="{}" title="{}">{}:{}</a>',
            self.filtered(worker=row.worker_id),
            row.worker,
            row.worker.hostname.partition(".")[0],
            row.worker.pid,
        )
        return cells.labelled(_("open for, on"), cells.two_lines(cells.age(row.opened_at), link))

    @admin.display(description=gettext_lazy("sent"), ordering="bytes_sent")
    def sent(self, row: Connection) -> SafeString:
        """Return how many events, and how many bytes, went to the client."""
        count = ngettext("%s event", "%s events", row.events_sent) % cells.grouped(row.events_sent)
        lines = cells.two_lines(cells.size(row.bytes_sent), count)
        return cells.labelled(_("sent"), lines)

    @admin.display(description=gettext_lazy("waiting"), ordering="queue_bytes")
    def waiting(self, row: Connection) -> SafeString:
        """Return how many bytes wait for the client, and whether it lags behind."""
        badge = SafeString("")
        if row.closing:
            badge = format_html(' <span class="sse-badge sse-ending">{}</span>', _("ending"))
        elif row.is_lagging:
            badge = format_html(' <span class="sse-badge sse-lagging">{}</span>', _("lagging"))
        return cells.labelled(_("waiting"), cells.size(row.queue_bytes) + badge)

    def filtered(self, **chosen: str) -> str:
        """Return the address of the list with these filters."""
        return f"{self.url('changelist')}?{urlencode(chosen)}"

    # The actions.

    @admin.action(permissions=["close"], description=gettext_lazy("Disconnect selected streams"))
    def disconnect_selected(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Ask whether to end the streams; then end them."""
        if "confirmed" not in request.POST:
            return self._confirm(request, queryset, "disconnect_selected", _("Disconnect streams"))
        rows = list(queryset)
        self.log(request, rows, _("Disconnected."))
        count = sum(disconnect(connection=ids) for ids in _pieces(rows))
        text = ngettext("%d stream is told to end.", "%d streams are told to end.", count)
        self.message_user(request, text % count, messages.SUCCESS)
        return None

    @admin.action(
        permissions=["publish"], description=gettext_lazy("Send a test event to selected streams")
    )
    def send_test_event(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Ask for an event; then send it to the streams."""
        title, is_confirmed = _("Send a test event"), "confirmed" in request.POST
        form = TestEventForm(request.POST) if is_confirmed else TestEventForm()
        if not (is_confirmed and form.is_valid()):
            return self._confirm(request, queryset, "send_test_event", title, form=form)
        rows, event = list(queryset), form.cleaned_data["event"]
        self.log(request, rows, _("Sent a test event “%s”.") % (event or "message"))
        taken = [
            send_to_streams(ids, form.cleaned_data["text"], event=event or None)
            for ids in _pieces(rows)
        ]
        self.tell_sent(request, all(taken), len(rows))
        return None

    def _confirm(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        action: str,
        title: str,
        **context: Any,
    ) -> HttpResponse:
        count = queryset.count()
        named = list(queryset[:_NAMED])
        is_across = request.POST.get("select_across") == "1"
        context = {
            "rows": named,
            "count": count,
            "rest": count - len(named),
            "action": action,
            "is_across": is_across,
            # All of a long list are not named: a form has a thousand fields at most.
            "selected": [named[0].pk] if is_across and named else self._selected(request),
            **context,
        }
        return self.render(request, f"confirm_{action}", title, context)

    def _selected(self, request: HttpRequest) -> list[str]:
        return request.POST.getlist(ACTION_CHECKBOX_NAME)


def _pieces(rows: list[Connection]) -> list[list[str]]:
    ids = [row.pk for row in rows]
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]


def _has(word: str) -> Q:
    """Return the condition that a stream has *word* somewhere."""
    # As the names are written in the tables, between quotes.
    written = json.dumps(word)[1:-1]
    members = Membership.objects.filter(
        Q(group_key=group_key(word)) | Q(group_json__icontains=written)
    )
    return (
        Q(pk__startswith=word)
        | Q(path__icontains=word)
        | Q(view__icontains=word)
        | Q(address__startswith=word)
        | Q(user_id=word)
        | Q(user_id__in=find_users(word))
        | Q(pk__in=members.values("connection"))
    )
