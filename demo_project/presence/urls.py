"""The addresses of the orders' own pages."""

from django.urls import path

from demo_project.presence import views

app_name = "presence"
urlpatterns = [
    path("<int:pk>/", views.Page.as_view(), name="order"),
    path("<int:order>/changes/", views.changes, name="changes"),
]
