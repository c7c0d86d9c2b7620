"""The addresses of the builds."""

from django.urls import path

from demo_project.builds import views

app_name = "builds"
urlpatterns = [
    path("", views.Page.as_view(), name="page"),
    path("stream/", views.overview, name="overview"),
    path("<int:pk>/", views.BuildPage.as_view(), name="build"),
    path("<int:build>/status/", views.status, name="status"),
]
