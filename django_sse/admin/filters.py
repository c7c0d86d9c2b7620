"""By what the list of connections can be narrowed."""

import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_sse.admin.cells import shortened
from django_sse.models import Connection, Membership, Worker
from django_sse.registry import registry_alias
from django_sse.stores.database_reading import group_key

__all__ = ["GroupFilter", "StateFilter", "UserFilter", "ViewFilter", "WorkerFilter", "in_group"]

# More make no choice: that is what the search is for.
_MOST = 12


def in_group(rows: QuerySet[Any], group: str) -> QuerySet[Any]:
    """Return those of *rows* that are in the group of this name."""
    members = Membership.objects.filter(group_key=group_key(group))
    return rows.filter(pk__in=members.values("connection"))


class _Filter(admin.SimpleListFilter):
    """A filter whose choice stays visible, even where it is not among those with the most rows."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """See SimpleListFilter."""
        alias = registry_alias()
        found = list(self.found(alias)) if alias is not None else []
        if (chosen := self.value()) and chosen not in [value for value, _text in found]:
            found.append((chosen, shortened(self.text_of(chosen), 60)))
        return found

    def found(self, alias: str) -> Iterator[tuple[str, Any]]:
        """Yield what there is to choose."""
        raise NotImplementedError

    def text_of(self, chosen: str) -> str:
        """Return how *chosen* is called."""
        return chosen


class WorkerFilter(_Filter):
    """By the process that serves the stream."""

    title = _("worker")
    parameter_name = "worker"

    def found(self, alias: str) -> Iterator[tuple[str, Any]]:
        """See _Filter."""
        rows = Worker.live.using(alias).annotate(streams=Count("connections"))
        for row in rows.order_by("hostname", "pid")[:50]:
            yield row.pk, f"{row} ({row.streams})"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """See SimpleListFilter."""
        return queryset.filter(worker=self.value()) if self.value() else queryset


class GroupFilter(_Filter):
    """By group; those with the largest audience are shown."""

    title = _("group")
    parameter_name = "group"

    def found(self, alias: str) -> Iterator[tuple[str, Any]]:
        """See _Filter."""
        members = Membership.objects.using(alias).filter(worker__in=Worker.live.values("pk"))
        groups = members.values("group_json").annotate(audience=Count("pk"))
        for row in groups.order_by("-audience", "group_json")[:_MOST]:
            name = json.loads(row["group_json"])
            yield name, f"{shortened(name, 40)} ({row['audience']})"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """See SimpleListFilter."""
        group = self.value()
        return in_group(queryset, group) if group else queryset


class ViewFilter(_Filter):
    """By the name of the view."""

    title = _("view")
    parameter_name = "view"

    def found(self, alias: str) -> Iterator[tuple[str, Any]]:
        """See _Filter."""
        views = Connection.live.using(alias).exclude(view="").values("view")
        for row in views.annotate(streams=Count("pk")).order_by("-streams", "view")[:_MOST]:
            yield row["view"], f"{shortened(row['view'], 40)} ({row['streams']})"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """See SimpleListFilter."""
        return queryset.filter(view=self.value()) if self.value() else queryset


class UserFilter(_Filter):
    """By whether somebody is logged in; the list of one user is a link with their primary key."""

    title = _("user")
    parameter_name = "user"

    def found(self, alias: str) -> Iterator[tuple[str, Any]]:
        """See _Filter."""
        yield "+", _("Logged in")
        yield "-", _("Not logged in")

    def text_of(self, chosen: str) -> str:
        """See _Filter."""
        return f"{_('user')} {chosen}"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """See SimpleListFilter."""
        chosen = self.value()
        if chosen in ("+", "-"):
            return queryset.filter(~Q(user_id="") if chosen == "+" else Q(user_id=""))
        return queryset.filter(user_id=chosen) if chosen else queryset


_STATES: dict[str, tuple[Any, Q]] = {
    "lagging": (_("Lagging"), Q(is_lagging=True)),
    "waiting": (_("Bytes waiting"), Q(queue_bytes__gt=0)),
    "closing": (_("Told to end"), ~Q(closing="")),
    "fine": (_("Up to date"), Q(is_lagging=False, queue_bytes=0, closing="")),
}


class StateFilter(_Filter):
    """By how the stream does."""

    title = _("state")
    parameter_name = "state"

    def found(self, alias: str) -> Iterator[tuple[str, Any]]:
        """See _Filter."""
        for name, (text, _condition) in _STATES.items():
            yield name, text

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """See SimpleListFilter."""
        state = _STATES.get(self.value() or "")
        return queryset.filter(state[1]) if state else queryset
