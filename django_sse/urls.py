"""URLs to be included: the stream of groups, and the renewal of its tokens."""

from django.urls import path

from django_sse.group_streams import GroupStreamView, renew_token

__all__ = ["app_name", "urlpatterns"]

app_name = "django_sse"
urlpatterns = [
    path("", GroupStreamView.as_view(), name="groups"),
    path("token/", renew_token, name="token"),
]
