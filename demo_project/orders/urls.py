"""The addresses of the orders."""

from django.urls import path

from demo_project.orders import views

app_name = "orders"
urlpatterns = [
    path("", views.Page.as_view(), name="page"),
]
