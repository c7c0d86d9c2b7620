"""The pages of one stream: how it does, and what may be done to it."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_sse.admin.base import ReadOnlyAdmin
from django_sse.admin.forms import TestEventForm, TestEventToForm, TestEventToManyForm
from django_sse.admin.live import counters_of
from django_sse.admin.users import show_users
from django_sse.control import disconnect, send_to_streams
from django_sse.models import Connection, Membership, Worker
from django_sse.publishing import broadcast, publish
from django_sse.registry import registry_alias
from django_sse.stores.database_reading import group_key

__all__ = ["ConnectionPages"]

_TO_STREAM, _TO_ALL, _TO_GROUP = "stream", "all", "group:"
_GROUPS_OFFERED = 20


class ConnectionPages(ReadOnlyAdmin):
    """What the admin of connections shows of one of them."""

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a stream, and the events of its groups if ``?tap=1`` asks for them."""
        row = self._row(request, object_id)
        if row is None:
            return self._gone(request)
        is_tapped = "tap" in request.GET
        if is_tapped and not self.has_tap_permission(request):
            raise PermissionDenied
        groups = _groups(row)
        context = {
            **self._page(request, row),
            "groups": [(name, self.filtered(group=name)) for name in groups],
            "counters": counters_of(row),
            "shown_user": show_users([row.user_id], request, self.admin_site).get(row.user_id),
            "user_filter": self.filtered(user=row.user_id),
            "worker_filter": self.filtered(worker=row.worker_id),
            "may_close": self.has_close_permission(request),
            "may_publish": self.has_publish_permission(request),
            "may_tap": self.has_tap_permission(request),
            "is_tapped": is_tapped,
            "live_url": self.url("live", row.pk) + ("?tap=1" if is_tapped else ""),
            **(extra_context or {}),
        }
        return self.render(request, "detail", row.path or row.pk, context)

    def filtered(self, **chosen: str) -> str:
        """Return the address of the list with these filters."""
        raise NotImplementedError

    def disconnect_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether to end a stream; then end it."""
        if not self.has_close_permission(request):
            raise PermissionDenied
        row = self._row(request, object_id)
        if row is None:
            return self._gone(request)
        if request.method != "POST":
            return self.render(request, "disconnect", _("Disconnect"), self._page(request, row))
        self.log(request, [row], _("Disconnected."))
        disconnect(connection=row)
        text = _("The stream %(path)s is told to end.") % {"path": row.path}
        self.message_user(request, text, messages.SUCCESS)
        return self.to_list()

    def send_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send a test event to a stream, to one of its groups, or to all."""
        if not self.has_publish_permission(request):
            raise PermissionDenied
        row = self._row(request, object_id)
        if row is None:
            return self._gone(request)
        data = request.POST if request.method == "POST" else None
        form = TestEventToForm(data, choices=_choices(row))
        context = {**self._page(request, row), "form": form}
        if not form.is_valid():
            return self.render(request, "send", _("Send a test event"), context)
        to = form.cleaned_data["to"]
        if to != _TO_STREAM and "confirmed" not in request.POST:
            context["to"] = dict(_choices(row))[to]
            return self.render(request, "confirm_send", _("Send a test event"), context)
        event = form.cleaned_data["event"]
        if to == _TO_STREAM:
            self.log(request, [row], _("Sent a test event “%s”.") % (event or "message"))
            taken = send_to_streams(row, form.cleaned_data["text"], event=event or None)
            self.tell_sent(request, taken, 1)
        else:
            group = to.removeprefix(_TO_GROUP) if to != _TO_ALL else None
            self._send_to_many(request, form, group)
        return HttpResponseRedirect(self.url("change", row.pk))

    def send_to_many_view(self, request: HttpRequest) -> HttpResponse:
        """Send a test event to a group or to all."""
        if not self.has_publish_permission(request):
            raise PermissionDenied
        form = TestEventToManyForm(request.POST if request.method == "POST" else None)
        context: dict[str, Any] = {"form": form, "back_url": self.url("changelist")}
        if not form.is_valid():
            return self.render(request, "send", _("Send a test event"), context)
        group = form.cleaned_data["group"] or None
        if "confirmed" not in request.POST:
            context["to"] = _group_text(group, _audience(group)) if group else _all_text()
            return self.render(request, "confirm_send", _("Send a test event"), context)
        self._send_to_many(request, form, group)
        return self.to_list()

    def _send_to_many(self, request: HttpRequest, form: TestEventForm, group: str | None) -> None:
        event, data = form.cleaned_data["event"] or None, form.cleaned_data["text"]
        named = {"event": event or "message", "group": group}
        if group is None:
            text = _("Sent a test event “%(event)s” to all streams.") % named
            self.log_for_all(request, _("all streams"), text)
            broadcast(data, event=event)
        else:
            text = _("Sent a test event “%(event)s” to the group “%(group)s”.") % named
            self.log_for_all(request, group, text)
            # Who comes later has no use for a test.
            publish(group, data, event=event, history=False)
        self.message_user(request, text, messages.SUCCESS)

    def tell_sent(self, request: HttpRequest, is_taken: bool, count: int) -> None:
        """Tell the user what has become of an event for *count* streams."""
        if is_taken:
            text = ngettext(
                "A test event is on its way to %d stream.",
                "A test event is on its way to %d streams.",
                count,
            )
            self.message_user(request, text % count, messages.SUCCESS)
        else:
            text = _("The channel layer did not take the event: the log of the process has more.")
            self.message_user(request, text, messages.ERROR)

    def _row(self, request: HttpRequest, object_id: str) -> Connection | None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = self.get_queryset(request).select_related("worker")
        row: Connection | None = rows.filter(pk=object_id).first()
        return row

    def _gone(self, request: HttpRequest) -> HttpResponse:
        self.message_user(request, _("That stream has ended."), messages.WARNING)
        return self.to_list()

    def _page(self, request: HttpRequest, row: Connection) -> dict[str, Any]:
        return {
            "row": row,
            "original": row.path or row.pk,
            "back_url": self.url("change", row.pk),
            "disconnect_url": self.url("disconnect", row.pk),
            "send_url": self.url("send", row.pk),
            "history_url": self.url("history", row.pk),
        }


def _groups(row: Connection) -> list[str]:
    return sorted({membership.group for membership in row.memberships.all()})


def _choices(row: Connection) -> list[tuple[str, str]]:
    """Return to whom a test event can be sent from the page of *row*, with their numbers."""
    groups = _groups(row)[:_GROUPS_OFFERED]
    audiences = _audiences(groups)
    return [
        (_TO_STREAM, _("This stream only")),
        *((f"{_TO_GROUP}{group}", _group_text(group, audiences[group])) for group in groups),
        (_TO_ALL, _all_text()),
    ]


def _audiences(groups: list[str]) -> dict[str, int]:
    """Return how many streams are in each of *groups*."""
    by_key = {group_key(group): group for group in groups}
    members = Membership.objects.using(registry_alias()).filter(
        group_key__in=by_key, worker__in=Worker.live.values("pk")
    )
    found = members.values("group_key").annotate(audience=Count("pk"))
    counted = {by_key[row["group_key"]]: row["audience"] for row in found}
    return {group: counted.get(group, 0) for group in groups}


def _audience(group: str) -> int | None:
    return _audiences([group])[group] if registry_alias() is not None else None


def _group_text(group: str, count: int | None) -> str:
    if count is None:
        return _("The group “%(group)s”") % {"group": group}
    text = ngettext(
        "The group “%(group)s”: %(count)d stream",
        "The group “%(group)s”: %(count)d streams",
        count,
    )
    return text % {"group": group, "count": count}


def _all_text() -> str:
    alias = registry_alias()
    if alias is None:
        return _("All streams")
    count = Connection.live.using(alias).count()
    return _("All streams: %d") % count
