"""The events that the database store keeps."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_sse.admin import cells
from django_sse.admin.base import ReadOnlyAdmin
from django_sse.admin.forms import ReplayForm
from django_sse.models import GroupHead, StoredEvent
from django_sse.publishing import publish
from django_sse.stores import get_store
from django_sse.stores.database_reading import group_key

__all__ = ["StoredEventAdmin"]

_GROUPS_SHOWN = 15
# They are published one by one, while somebody waits for the page.
_MAX_REPLAYED = 500
_NAMED = 10


def _alias() -> str | None:
    """Return the database of the store, if that keeps its events in one."""
    try:
        store = get_store()
    except ImproperlyConfigured:
        return None
    return getattr(store, "alias", None) if store is not None and store.is_transactional else None


class _GroupFilter(admin.SimpleListFilter):
    """By group; those with the latest events are shown."""

    title = gettext_lazy("group")
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """See SimpleListFilter."""
        heads = GroupHead.objects.using(_alias()).order_by("-updated_at")[:_GROUPS_SHOWN]
        names = [json.loads(head.group_json) for head in heads]
        if (chosen := self.value()) and chosen not in names:
            names.append(chosen)
        return [(name, cells.shortened(name, 40)) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """See SimpleListFilter."""
        group = self.value()
        return queryset.filter(group_key=group_key(group)) if group else queryset


class _StoredEvents(ChangeList):
    """One page of the list, with the names of its groups looked up together."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        _name_groups(rows)
        self.result_list = rows


def _name_groups(rows: list[Any]) -> None:
    heads = GroupHead.objects.using(_alias()).filter(group_key__in={r.group_key for r in rows})
    names = {key: json.loads(name) for key, name in heads.values_list("group_key", "group_json")}
    for row in rows:
        row.group = names.get(row.group_key, "")


@admin.register(StoredEvent)
class StoredEventAdmin(ReadOnlyAdmin):
    """The histories of groups, where the store is the database."""

    actions = ["replay"]
    list_display = ["number_in_group", "group", "event", "data", "size", "kept_for"]
    list_filter = [_GroupFilter]
    ordering = ["-created_at", "-number"]
    search_fields = ["group_key"]
    search_help_text = gettext_lazy("Part of the name of a group")

    class Media:
        css = {"all": ["django_sse/admin/pages.css"]}

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether there is anything to see: other stores keep no rows."""
        return _alias() is not None and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return the same for a row."""
        return _alias() is not None and super().has_view_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return what the store keeps."""
        rows = StoredEvent.objects.using(_alias())
        return rows.order_by(*self.get_ordering(request))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """See ModelAdmin."""
        return super().changelist_view(
            request, {"title": _("Stored events"), **(extra_context or {})}
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """See ModelAdmin."""
        return _StoredEvents

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the events of the groups that have *search_term* in their name."""
        if search_term:
            written = json.dumps(search_term)[1:-1]
            named = GroupHead.objects.filter(
                Q(group_key=group_key(search_term)) | Q(group_json__icontains=written)
            )
            queryset = queryset.filter(group_key__in=named.values("group_key"))
        return queryset, False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show an event."""
        row: Any = self.get_object(request, object_id)
        if row is None or not self.has_view_permission(request, row):
            return super().change_view(request, object_id, form_url, extra_context)
        _name_groups([row])
        message = _message(row)
        title = _("Event %(number)d of %(group)s") % {"number": row.number, "group": row.group}
        context = {
            "row": row,
            "message": message,
            "data": _indented(message),
            "size": filesizeformat(len(message["data"].encode())),
            **(extra_context or {}),
        }
        return self.render(request, "detail", title, context)

    @admin.display(description=gettext_lazy("number"), ordering="number")
    def number_in_group(self, row: Any) -> SafeString:
        """Return the number of the event in its group."""
        return format_html("#{}", row.number)

    @admin.display(description=gettext_lazy("group"), ordering="group_key")
    def group(self, row: Any) -> SafeString:
        """Return the name of the group."""
        url = f"{self.url('changelist')}?{urlencode({'group': row.group})}"
        return cells.labelled(_("group"), cells.chips([(row.group, url)], 1))

    @admin.display(description=gettext_lazy("event"))
    def event(self, row: Any) -> SafeString:
        """Return the type of the event."""
        return cells.labelled(_("event"), _message(row).get("event", "message"))

    @admin.display(description=gettext_lazy("data"))
    def data(self, row: Any) -> SafeString:
        """Return the beginning of the data, as text."""
        text = cells.shortened(_message(row)["data"], 100)
        return cells.labelled(_("data"), format_html('<code class="sse-data">{}</code>', text))

    @admin.display(description=gettext_lazy("size"))
    def size(self, row: Any) -> SafeString:
        """Return the size of the data."""
        return cells.labelled(_("size"), cells.size(len(_message(row)["data"].encode())))

    @admin.display(description=gettext_lazy("age"), ordering="-created_at")
    def kept_for(self, row: Any) -> SafeString:
        """Return how long ago the event was published."""
        return cells.labelled(_("age"), cells.age(row.created_at))

    @admin.action(
        permissions=["publish"], description=gettext_lazy("Publish selected events again")
    )
    def replay(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Ask for a group; then publish the events there, in their order."""
        count, is_confirmed = queryset.count(), "confirmed" in request.POST
        if count > _MAX_REPLAYED:
            text = _("%(count)d events are too many at once: choose %(most)d at most.")
            named = {"count": count, "most": _MAX_REPLAYED}
            self.message_user(request, text % named, messages.ERROR)
            return None
        form = ReplayForm(request.POST if is_confirmed else None)
        rows = list(queryset.order_by("created_at", "number"))
        _name_groups(rows)
        if not (is_confirmed and form.is_valid()):
            context = {
                "form": form,
                "count": count,
                "rows": [(row, _message(row).get("event", "message")) for row in rows[:_NAMED]],
                "rest": count - len(rows[:_NAMED]),
                "selected": [row.pk for row in rows],
            }
            return self.render(request, "replay", _("Publish events again"), context)
        self._publish(request, rows, form.cleaned_data["group"])
        text = ngettext("%d event is published again.", "%d events are published again.", count)
        self.message_user(request, text % count, messages.SUCCESS)
        return None

    def _publish(self, request: HttpRequest, rows: list[Any], group: str) -> None:
        # All of them or none, where the store is in the caller's transaction.
        with transaction.atomic(using=_alias()):
            text = _("Published again to the group “%s”.") % group if group else ""
            self.log(request, rows, text or _("Published again."))
            for row in rows:
                message = _message(row)
                publish(
                    group or row.group,
                    json.loads(message["data"]) if message.get("json") else message["data"],
                    event=message.get("event"),
                    retry=message.get("retry"),
                    key=message.get("key"),
                    using=_alias(),
                )


def _message(row: Any) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(row.message_json)
    return message


def _indented(message: dict[str, Any]) -> str:
    """Return the data for people to read."""
    if message.get("json"):
        return json.dumps(json.loads(message["data"]), indent=2, ensure_ascii=False)
    text: str = message["data"]
    return text
