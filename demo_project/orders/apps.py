"""The app: its receivers write to the owners of orders, whoever changes them."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "demo_project.orders"

    def ready(self):
        from demo_project.orders import receivers  # noqa: F401
