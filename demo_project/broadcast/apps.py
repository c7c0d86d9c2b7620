"""The app: its receivers count the streams that are open."""

from django.apps import AppConfig


class BroadcastConfig(AppConfig):
    name = "demo_project.broadcast"

    def ready(self):
        from demo_project.broadcast import receivers  # noqa: F401
