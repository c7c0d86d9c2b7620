"""The addresses of the inbox."""

from django.urls import path

from demo_project.inbox import views

app_name = "inbox"
urlpatterns = [
    path("", views.page, name="page"),
    path("send/", views.send, name="send"),
    path("stream/", views.notes, name="stream"),
    path("staff/", views.staff_page, name="staff"),
    path("staff/stream/", views.staff_notes, name="staff-stream"),
]
