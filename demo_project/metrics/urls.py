"""The addresses of the machine's metrics."""

from django.urls import path

from demo_project.metrics import views

app_name = "metrics"
urlpatterns = [
    path("", views.page, name="page"),
    path("stream/", views.samples, name="stream"),
]
