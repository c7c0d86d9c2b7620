"""``manage.py announce``: publish in every way that a process has which serves no streams."""

import asyncio
import multiprocessing
import threading
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand
from django.db import transaction

from django_sse import apublish, broadcast, publish


class Command(BaseCommand):
    """Publish one event for each way, in this order; each carries its way's name."""

    ways = ("command", "thread", "coroutine", "async_to_sync", "child", "commit", "broadcast")

    def handle(self, *args: Any, **options: Any) -> None:
        for way in self.ways:
            getattr(self, f"publish_from_{way}")()

    def publish_from_command(self) -> None:
        publish("news", "command")

    def publish_from_thread(self) -> None:
        thread = threading.Thread(target=publish, args=("news", "thread"))
        thread.start()
        thread.join()

    def publish_from_coroutine(self) -> None:
        asyncio.run(apublish("news", "coroutine"))

    def publish_from_async_to_sync(self) -> None:
        async_to_sync(apublish)("news", "async_to_sync")

    def publish_from_child(self) -> None:
        # As the workers of a task queue are made, after their parent has published.
        child = multiprocessing.get_context("fork").Process(target=publish, args=("news", "child"))
        child.start()
        child.join()

    def publish_from_commit(self) -> None:
        with transaction.atomic():
            publish("news", "commit")
            publish("news", "at once", on_commit=False)
        try:
            with transaction.atomic():
                publish("news", "rolled back")
                raise InterruptedError
        except InterruptedError:
            pass

    def publish_from_broadcast(self) -> None:
        # No stream of this process gets it.
        assert broadcast("broadcast") == 0
