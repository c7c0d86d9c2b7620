"""The app: its receivers publish what is saved, whoever saves it."""

from django.apps import AppConfig


class BoardConfig(AppConfig):
    name = "demo_project.board"

    def ready(self):
        from demo_project.board import receivers  # noqa: F401
