"""URLs to be included: the stream of groups, and the renewal of its tokens."""

from django.contrib.auth.decorators import login_not_required
from django.urls import path

from django_sse.group_streams import GroupStreamView, renew_token

__all__ = ["app_name", "urlpatterns"]

app_name = "django_sse"
# They decide by themselves, and refuse by default: visitors without a login may have a token.
urlpatterns = [
    path("", login_not_required(GroupStreamView.as_view()), name="groups"),
    path("token/", login_not_required(renew_token), name="token"),
]
