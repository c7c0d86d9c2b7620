"""What the admin pages of the package have in common."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse

from django_sse.markup import nonce_of

__all__ = ["ReadOnlyAdmin", "list_url", "user_key"]


def user_key(request: HttpRequest) -> Any:
    """Return the primary key of the user of a page, who is logged in."""
    return request.user.pk


def list_url(model: str, site: str) -> str:
    """Return the address of the list of a *model* of the package; empty if *site* has none."""
    try:
        return reverse(f"admin:django_sse_{model}_changelist", current_app=site)
    except NoReverseMatch:
        return ""


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django has no such argument.
    """
    Shows rows that the package itself writes: nobody adds, changes or deletes any.

    An action with ``permissions=["publish"]`` is for who has ``django_sse.publish_event``.
    """

    actions_on_bottom = False
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def has_close_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may disconnect streams."""
        return self._has(request, "close_connection")

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may publish events."""
        return self._has(request, "publish_event")

    def has_tap_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may read the events of other people's streams."""
        return self._has(request, "tap_events")

    def _has(self, request: HttpRequest, codename: str) -> bool:
        return self.has_view_permission(request) and request.user.has_perm(
            f"django_sse.{codename}"
        )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """See ModelAdmin. An action that is not the user's is refused, not only hidden."""
        if request.method == "POST":
            for name in request.POST.getlist("action"):
                self._check_action(request, name)
        return super().changelist_view(request, extra_context)

    def _check_action(self, request: HttpRequest, name: str) -> None:
        if name not in (self.actions or ()):
            return
        for permission in getattr(getattr(self, name), "allowed_permissions", ()):
            if not getattr(self, f"has_{permission}_permission")(request):
                raise PermissionDenied

    def to_list(self) -> HttpResponseRedirect:
        """Return the way back to the list."""
        return HttpResponseRedirect(self.url("changelist"))

    def url(self, page: str, *args: Any) -> str:
        """Return the address of a *page* of this model, in this site."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def render(
        self, request: HttpRequest, template: str, title: str, context: Mapping[str, Any]
    ) -> HttpResponse:
        """Return the page *template* of this model, with what every page of the admin has."""
        request.current_app = self.admin_site.name
        common = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "original": title,  # The last of the breadcrumbs.
            "media": self.media,
            "nonce": nonce_of(request),
            "has_view_permission": True,
        }
        path = f"admin/django_sse/{self.opts.model_name}/{template}.html"
        return TemplateResponse(request, path, {**common, **context})

    def log(self, request: HttpRequest, rows: Iterable[Model], message: str) -> None:
        """Write to the admin's log what is done to each of *rows*."""
        LogEntry.objects.log_actions(
            user_key(request),
            list(rows),
            CHANGE,
            change_message=message,
        )

    def log_for_all(self, request: HttpRequest, what: str, message: str) -> None:
        """Write to the admin's log what is done to *what*, which is no row."""
        kind = ContentType.objects.get_for_model(self.model, for_concrete_model=False)
        LogEntry.objects.create(
            user_id=user_key(request),
            content_type=kind,
            object_repr=what[:200],
            action_flag=CHANGE,
            change_message=message,
        )
