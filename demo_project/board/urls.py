"""The addresses of the board."""

from django.urls import path

from demo_project.board import views

app_name = "board"
urlpatterns = [
    path("", views.Page.as_view(), name="page"),
    path("stream/", views.Stream.as_view(), name="stream"),
    path("write/", views.Write.as_view(), name="write"),
    path("<int:pk>/edit/", views.Edit.as_view(), name="edit"),
]
