"""The addresses of the broadcast."""

from django.urls import path

from demo_project.broadcast import views

app_name = "broadcast"
urlpatterns = [
    path("", views.page, name="page"),
    path("send/", views.send, name="send"),
    path("stream/", views.lobby, name="lobby"),
]
