"""The users of streams, of whom the registry knows only the primary keys."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

__all__ = ["ShownUser", "find_users", "show_users", "user_names"]

# Of a search, so that a word that many names have in common makes no endless query.
_MAX_FOUND = 500


class ShownUser(NamedTuple):
    """
    A user as a page shows them.

    Attributes:
        name: The name, or the primary key of one who is not in the project's table.
        url: The page of the user in the admin; empty if there is none, or not for who looks.
    """

    name: str
    url: str = ""


def show_users(
    user_ids: Iterable[str], request: HttpRequest, site: AdminSite
) -> dict[str, ShownUser]:
    """Return how to show the users with these primary keys: one query, however many they are."""
    model = get_user_model()
    wanted = {user_id for user_id in user_ids if user_id}
    names = user_names(wanted)
    model_admin = site._registry.get(model)
    is_linked = model_admin is not None and model_admin.has_view_permission(request)
    return {
        user_id: ShownUser(
            names.get(user_id, user_id),
            _url(model, user_id, site) if is_linked and user_id in names else "",
        )
        for user_id in wanted
    }


def user_names(user_ids: Iterable[str]) -> dict[str, str]:
    """Return the names of those users that there are, by their primary keys, by one query."""
    model: Any = get_user_model()
    keys = []
    for user_id in user_ids:
        try:
            keys.append(model._meta.pk.to_python(user_id))
        except Exception:  # Of another source, whose keys this field does not take.
            continue
    if not keys:
        return {}
    found = model._default_manager.filter(pk__in=keys)
    return {str(pk): str(name) for pk, name in found.values_list("pk", model.USERNAME_FIELD)}


def _url(model: Any, user_id: str, site: AdminSite) -> str:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    try:
        return reverse(name, args=[user_id], current_app=site.name)
    except NoReverseMatch:
        return ""


def find_users(term: str) -> list[str]:
    """Return the primary keys of users whose name has *term* in it, as the registry has them."""
    model: Any = get_user_model()
    named = model._default_manager.filter(**{f"{model.USERNAME_FIELD}__icontains": term})
    return [str(pk) for pk in named.values_list("pk", flat=True)[:_MAX_FOUND]]
