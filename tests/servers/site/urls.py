"""The URLs of the served project."""

from django.urls import path

from tests.servers.site import views

urlpatterns = [
    path("ready/", views.ready),
    path("state/", views.state),
    path("publish/", views.publish_some),
    path("generator/<name>/", views.generator),
    path("handler/<name>/", views.handler),
    path("whose/<name>/", views.whose),
    path("tasked/<name>/", views.tasked),
    path("grouped/<name>/", views.grouped),
    path("late/<name>/", views.late),
    path("long/<name>/", views.long),
    path("logged-in/generator/<name>/", views.logged_in_generator),
    path("logged-in/handler/<name>/", views.logged_in_handler),
    path("logged-in/stock/<name>/", views.logged_in_stock),
    path("querying/<name>/", views.querying),
]
